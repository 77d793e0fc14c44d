import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from authserver.clients.provision import provision_master, provision_staff
from authserver.clients.register import Credentials
from authserver.clients.store.platforms import Platform
from authserver.config import AuthServerConfig, PepperConfig, StatementIssuerConfig
from authserver.server import running
from mesh.access.rules import ClientType
from mesh.config import ServerConfig
from mesh.security import pki
from mesh.security.secret_files import create_key
from mesh.serving.server import Server
from mesh.storage.database import Database
from tests.migrated import migrated_sqlite
from tests.unit.authserver.company import CEILING, MASTER_SCOPES, Company
from tests.unit.authserver.face import Face, face_up
from tests.unit.authserver.wire import PAYMENTS_KEY, Caller, calling, provisioner


@pytest.fixture
def database_url(new_database_url: Callable[[str], str]) -> str:
    """Return the URL of a fresh database that has the auth server's tables; the test runs once on each kind."""
    return new_database_url("authserver")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def company(database: Database) -> Company:
    return Company(database)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    company = pki.create_authority(folder, "company")
    for workload in ("authserver", "gateway", "payments"):
        pki.issue_workload(company, folder, workload)
    return folder


def make_config(certificates: Path, database_url: str, folder: Path) -> AuthServerConfig:
    """Return the configuration of an auth server whose keys are in a folder."""
    for name in ("kek", "pepper", "audit-key"):
        create_key(folder / name)
    (folder / "jwks.json").write_text(json.dumps({"keys": [PAYMENTS_KEY.public_jwk()]}))
    return AuthServerConfig(
        server=ServerConfig(
            listen="127.0.0.1:0",
            certificate=certificates / "authserver.pem",
            private_key=certificates / "authserver-key.pem",
            client_ca=certificates / "company.pem",
        ),
        database=database_url,
        issuer="authserver.example",
        audiences=frozenset({"authserver", "payments"}),
        key_encryption_keys=(folder / "kek",),
        peppers=(PepperConfig(id=1, file=folder / "pepper"),),
        audit_key=folder / "audit-key",
        statement_issuers=(StatementIssuerConfig(iss="payments", jwks=folder / "jwks.json"),),
    )


@pytest.fixture
def config(certificates: Path, database: Database, database_url: str, tmp_path: Path) -> AuthServerConfig:
    del database  # migrated
    return make_config(certificates, database_url, tmp_path)


@pytest.fixture
async def server(config: AuthServerConfig) -> AsyncIterator[Server]:
    """Run the auth server, which the gateway and payments call."""
    async with running(config) as server:
        yield server


@pytest.fixture
async def gateway(server: Server, certificates: Path) -> AsyncIterator[Caller]:
    async with calling(certificates, server.port, "gateway") as caller:
        yield caller


@pytest.fixture
async def payments(server: Server, certificates: Path) -> AsyncIterator[Caller]:
    async with calling(certificates, server.port, "payments") as caller:
        yield caller


@pytest.fixture
def shops(config: AuthServerConfig, database: Database) -> Credentials:
    by, platform = provisioner(config), Platform(CEILING, max_clients=100)
    return database.run_here(lambda connection: provision_master(connection, by, "shops", platform, MASTER_SCOPES))


@pytest.fixture
def operator(config: AuthServerConfig, database: Database) -> Credentials:
    by = provisioner(config)
    return database.run_here(
        lambda connection: provision_staff(connection, by, ClientType.OPERATOR, "alice", MASTER_SCOPES)
    )


@pytest.fixture(scope="session")
def one_face(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """Run one auth server with an HTTP face for all tests that only call it."""
    folder = tmp_path_factory.mktemp("face")
    url = migrated_sqlite(folder / "database.db", "authserver")
    database = Database(url)
    # Those that fail on purpose are many.
    config = replace(make_config(certificates, url, folder), failures_at_once=100_000)
    with face_up(config, database, folder) as face:
        yield face
    database.close()
