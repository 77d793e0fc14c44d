"""A running auth server as callers of its HTTP face see it, with real TLS."""

import json
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from authserver.clients.provision import provision_master, provision_staff
from authserver.clients.register import Credentials
from authserver.clients.store.platforms import Platform
from authserver.config import AuthServerConfig, HttpConfig
from authserver.server import running
from cli.local.configurations import reserved_port
from mesh.access.rules import ClientType
from mesh.security import pki
from mesh.storage.database import Database
from tests.loop_thread import loop_thread
from tests.unit.authserver.company import CEILING, MASTER_SCOPES
from tests.unit.authserver.wire import provisioner, statement

GRANT = {"grant_type": "client_credentials"}
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Face:
    """The HTTP face, a client of it, and who has credentials from the start.

    Attributes:
        url: Its public URL.
        ca: Where its certificate comes from, PEM.
        config: What the server runs with.
        http: A client that trusts it.
        shops: The Master Client of the platform `shops`.
        stalls: That of another platform.
        operator: An operator of the company.

    """

    url: str
    ca: Path
    config: AuthServerConfig
    http: httpx.Client
    shops: Credentials
    stalls: Credentials
    operator: Credentials

    def token(self, credentials: Credentials, **form: str) -> str:
        answer = self.http.post("/oauth2/token", data={**GRANT, **form}, auth=basic(credentials))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def register(self, master: Credentials | None = None, **fields: Any) -> dict[str, Any]:
        """Register a client of a partner that nobody has seen before; a field that is None is absent."""
        master = master or self.shops
        answer = self.http.post("/oauth2/register", json=self.registration(master, **fields), headers=self.as_(master))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def registration(self, master: Credentials | None = None, **fields: Any) -> dict[str, Any]:
        number = uuid.uuid4().hex
        platform_id = (master or self.shops).client.platform_id
        approval = statement(jti=f"app_{number}", partner_id=f"ptr_{number}", platform_id=platform_id)
        body = {"software_statement": approval, "client_name": "Tea shop", **fields}
        return {name: value for name, value in body.items() if value is not None}

    def as_(self, credentials: Credentials, **form: str) -> dict[str, str]:
        """Return the header of a call with an access token."""
        return bearer(self.token(credentials, **form))


def basic(credentials: Credentials | dict[str, Any]) -> tuple[str, str]:
    if isinstance(credentials, Credentials):
        return credentials.client.client_id, credentials.client_secret
    return credentials["client_id"], credentials["client_secret"]


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def with_face(config: AuthServerConfig, folder: Path, **settings: Any) -> AuthServerConfig:
    """Return the configuration with an HTTP face, whose certificate comes from a CA in the folder."""
    public = pki.create_authority(folder, "public")
    pki.issue_public(public, folder, "face")
    port = reserved_port()
    http = HttpConfig(
        listen=f"127.0.0.1:{port}",
        certificate=folder / "face.pem",
        private_key=folder / "face-key.pem",
        public_url=f"https://localhost:{port}",
        **settings,
    )
    return replace(config, http=http)


def trust(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "public.pem")


@contextmanager
def face_up(config: AuthServerConfig, database: Database, folder: Path, **settings: Any) -> Iterator[Face]:
    """Run an auth server with an HTTP face on a thread of its own."""
    config = with_face(config, folder, **settings)
    assert config.http
    by, platform = provisioner(config), Platform(CEILING, max_clients=1_000)
    shops, stalls = (
        database.run_here(lambda connection, name=name: provision_master(connection, by, name, platform, MASTER_SCOPES))
        for name in ("shops", "stalls")
    )
    operator = database.run_here(
        lambda connection: provision_staff(connection, by, ClientType.OPERATOR, "alice", MASTER_SCOPES)
    )
    with (
        loop_thread() as thread,
        thread.entered(running(config)),
        httpx.Client(base_url=config.http.public_url, verify=trust(folder), trust_env=False, timeout=30) as client,
    ):
        yield Face(config.http.public_url, folder / "public.pem", config, client, shops, stalls, operator)


def errors_of(answer: httpx.Response) -> tuple[int, str]:
    """Return status and error of a refusal, which must have the form that the RFCs ask for and tell nothing else."""
    assert answer.headers["cache-control"] == "no-store", answer.headers
    assert answer.headers["content-type"] == "application/json"
    content = json.loads(answer.text)
    assert content.keys() >= {"error", "error_description"}
    assert 0 < len(content["error_description"]) < 400
    assert not {"Traceback", ".py", "sqlalchemy", "authserver"} & set(content["error_description"].split())
    challenge = answer.headers.get("www-authenticate", "")
    assert bool(challenge) == (answer.status_code in {401, 403}), answer.headers
    return answer.status_code, content["error"]
