"""Makes a home ready to run: certificates, keys, configurations, schemas, and the first clients."""

import json
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Connection

from authserver import store as auth_store
from authserver.provision_client import provision_master, provision_staff
from authserver.register_client import Credentials
from cli.home import Home, MeshAddresses, read_credentials
from mesh import migrations, pki, signed_jwt, tls
from mesh.access.descriptors import own_contracts, read_methods
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from mesh.config import ConfigError
from mesh.database import Database
from mesh.secret_files import create_key, read_key, write_private
from mesh.timestamps import to_ms

MIGRATED = ("authserver", "payments", "shops")

_HOST = "127.0.0.1"
_AUTH_ISSUER = "https://authserver.sekisho.internal"
_STATEMENT_ISSUER = "https://payments.sekisho.internal"
_PLATFORM_ID = "shops"
_BACKEND_SERVICES = {
    "authserver": ("TokenService", "ClientRegistrationService", "KeyService"),
    "payments": (
        "PartnerApplicationService",
        "PartnerReviewService",
        "PaymentService",
        "WalletService",
        "LedgerService",
    ),
}


@dataclass(frozen=True, slots=True)
class Ports:
    """The port of each service."""

    gateway: int
    shops: int
    authserver: int
    payments: int

    @classmethod
    def choose(cls, first: int) -> "Ports":
        """Return four ports from `first` on; four free ones for 0."""
        if first:
            return cls(first, first + 1, first + 2, first + 3)
        with ExitStack() as held:  # all at once, so that they differ
            sockets = [held.enter_context(socket.socket()) for _ in range(4)]
            for each in sockets:
                each.bind((_HOST, 0))
            return cls(*(each.getsockname()[1] for each in sockets))


def prepare(home: Home, ports: Ports, databases: str | None) -> MeshAddresses:
    """Write all that the services need under the home, keeping keys, databases and credentials that are there.

    Args:
        home: Where to write.
        ports: Where the services will listen.
        databases: The URL of the services' databases, with `{service}` in place of each one's name; None for SQLite
            under the home.

    Raises:
        ConfigError: If a database is newer than this version.
        DatabaseUnavailable: If one can't be reached.

    """
    for folder in (home.pki, home.logs, home.credentials, *map(home.folder, ("gateway", *MIGRATED))):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _issue_certificates(home)
    _create_keys(home)
    for service, config in _configs(home, ports, databases).items():
        text = "# Written by `sekisho up`, anew at each start.\n" + yaml.safe_dump(config, sort_keys=False)
        (home.folder(service) / "config.yaml").write_text(text)
    for service in MIGRATED:
        migrate(service, home.database(service))
    addresses = MeshAddresses(
        gateway=f"{_HOST}:{ports.gateway}",
        shops=f"{_HOST}:{ports.shops}",
        ca=home.pki / "public-ca.pem",
        master_credentials=home.folder("shops") / "master-credentials.json",
        operator_credentials=home.credentials / "operator.json",
        wallet_credentials=home.credentials / "wallet.json",
        logs=home.logs,
    )
    _provision(home, addresses)
    return addresses


def migrate(service: str, url: str) -> list[str]:
    """Bring a service's database to the current schema; return the names of the migrations that ran."""
    database = Database(url)
    try:
        return database.run_here(lambda connection: migrations.upgrade(connection, service))
    finally:
        database.close()


def scopes_of(client_type: ClientType) -> frozenset[str]:
    """Return all scopes that the contracts ask clients of a type for."""
    rules = (method.rule for method in read_methods(own_contracts()).values() if method.rule)
    return frozenset().union(*(rule.scopes for rule in rules if client_type in rule.client_types))


def write_credentials(file: Path, credentials: Credentials) -> None:
    """Write a client's credentials to a file that only its owner can read."""
    content = {"client_id": credentials.client.client_id, "client_secret": credentials.client_secret}
    write_private(file, json.dumps(content).encode())


def _issue_certificates(home: Home) -> None:
    workloads = pki.create_authority(home.pki, "workload-ca")
    for workload in ("gateway", "authserver", "payments", "supervisor"):
        pki.issue_workload(workloads, home.pki, workload)
    public = pki.create_authority(home.pki, "public-ca")
    for endpoint in ("gateway-public", "shops-public"):
        pki.issue_public(public, home.pki, endpoint)


def _create_keys(home: Home) -> None:
    for key in ("authserver/key-encryption-key", "authserver/pepper", "shops/sealing-key", "shops/token-key"):
        create_key(home.path / key)
    statement_key = home.folder("payments") / "statement-key.pem"
    if not statement_key.exists():
        write_private(statement_key, signed_jwt.create_pem())
    jwk = signed_jwt.SigningKey.from_pem(statement_key.read_bytes()).public_jwk()
    (home.folder("authserver") / "payments-statement-keys.json").write_text(json.dumps({"keys": [jwk]}))


def _configs(home: Home, ports: Ports, databases: str | None) -> Mapping[str, Mapping[str, Any]]:
    pem = {name: str(home.pki / f"{name}.pem") for name in ("workload-ca", "public-ca")}

    def certificate(name: str) -> dict[str, str]:
        return {"certificate": str(home.pki / f"{name}.pem"), "private_key": str(home.pki / f"{name}-key.pem")}

    def inside(workload: str, port: int) -> dict[str, str]:
        return {"listen": f"{_HOST}:{port}", **certificate(workload), "client_ca": pem["workload-ca"]}

    def channel(workload: str, to: str, port: int) -> dict[str, str]:
        return {
            "target": f"{_HOST}:{port}",
            "ca": pem["workload-ca"],
            "server_name": tls.dns_name(to),
            **certificate(workload),
        }

    def database(service: str) -> str:
        return databases.replace("{service}", service) if databases else f"sqlite:///{home.folder(service)}/database.db"

    backend_ports = {"authserver": ports.authserver, "payments": ports.payments}
    packages = {"authserver": "sekisho.auth.v1", "payments": "sekisho.payments.v1"}
    return {
        "authserver": {
            "server": inside("authserver", ports.authserver),
            "database": database("authserver"),
            "issuer": _AUTH_ISSUER,
            "audiences": list(backend_ports),
            "key_encryption_key": "key-encryption-key",
            "pepper": "pepper",
            "statement_issuers": [{"iss": _STATEMENT_ISSUER, "jwks": "payments-statement-keys.json"}],
        },
        "payments": {
            "server": inside("payments", ports.payments),
            "database": database("payments"),
            "auth": channel("payments", "authserver", ports.authserver),
            "auth_issuer": _AUTH_ISSUER,
            "statement_issuer": _STATEMENT_ISSUER,
            "statement_key": "statement-key.pem",
        },
        "gateway": {
            "listeners": [
                {
                    "name": "public",
                    "server": {"listen": f"{_HOST}:{ports.gateway}", **certificate("gateway-public")},
                    "client_types": sorted(map(str, ALL_CLIENT_TYPES)),
                }
            ],
            "auth": channel("gateway", "authserver", ports.authserver),
            "backends": [
                {
                    "name": name,
                    "channel": channel("gateway", name, port),
                    "services": [f"{packages[name]}.{service}" for service in _BACKEND_SERVICES[name]],
                }
                for name, port in backend_ports.items()
            ],
        },
        "shops": {
            "server": {"listen": f"{_HOST}:{ports.shops}", **certificate("shops-public")},
            "database": database("shops"),
            "gateway": {"target": f"{_HOST}:{ports.gateway}", "ca": pem["public-ca"]},
            "master_credentials": "master-credentials.json",
            "sealing_key": "sealing-key",
            "token_key": "token-key",
        },
    }


def _provision(home: Home, addresses: MeshAddresses) -> None:
    pepper = read_key(home.folder("authserver") / "pepper")
    now_ms = to_ms(time.time())

    def master(connection: Connection) -> Credentials:
        ceiling = scopes_of(ClientType.PARTNER)
        return provision_master(
            connection, pepper, _PLATFORM_ID, scopes=scopes_of(ClientType.MASTER), ceiling=ceiling, now_ms=now_ms
        )

    def staff(client_type: ClientType, name: str) -> Any:  # noqa: ANN401
        return lambda connection: provision_staff(
            connection, pepper, client_type, name, scopes=scopes_of(client_type), now_ms=now_ms
        )

    wanted = {
        addresses.master_credentials: master,
        addresses.operator_credentials: staff(ClientType.OPERATOR, "operator"),
        addresses.wallet_credentials: staff(ClientType.WALLET, "wallet application"),
    }
    database = Database(home.database("authserver"))

    def provision(connection: Connection) -> None:
        for file, create in wanted.items():
            if not _is_provisioned(connection, file):
                # Before the commit: a crash in between leaves a file that works for nobody, which the next start mends.
                write_credentials(file, create(connection))

    try:
        database.run_here(provision)
    finally:
        database.close()


def _is_provisioned(connection: Connection, file: Path) -> bool:
    try:
        client_id, _ = read_credentials(file)
    except FileNotFoundError:
        return False
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{file} is damaged; restore it from a backup") from error
    return auth_store.find_client(connection, client_id) is not None
