"""Two auth servers on one database, whose keys, key-encryption keys and peppers change while they answer."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from authserver.clients.provision import Provisioner, provision_staff
from authserver.clients.register import Credentials
from authserver.config import AuthServerConfig, PepperConfig
from authserver.installation import read_installation
from authserver.keys.rotation import KeyKeeper, paces, retire_key, rotate_key
from authserver.keys.schedule import Use
from authserver.keys.store import list_keys
from mesh.access.rules import ClientType
from mesh.config import ServerConfig
from mesh.security import pki
from mesh.security.secret_files import create_key
from mesh.security.signed_jwt import SigningKey, create_pem
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from sekisho.auth.v1 import revocation_service_pb2 as revocation_pb
from tests.integration.auth_replicas import Replica, two
from tests.unit.authserver.hostile_tokens import HOSTILE

PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    company = pki.create_authority(folder, "company")
    for workload in ("authserver", "gateway"):
        pki.issue_workload(company, folder, workload)
    return folder


@pytest.fixture
def database_url(new_database_url: Callable[[str], str]) -> str:
    return new_database_url("authserver")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def config(certificates: Path, database: Database, database_url: str, tmp_path: Path) -> AuthServerConfig:
    del database  # migrated
    for name in ("kek-1", "kek-2", "pepper-1", "pepper-2", "audit-key"):
        create_key(tmp_path / name)
    return AuthServerConfig(
        server=ServerConfig(
            listen="127.0.0.1:0",
            certificate=certificates / "authserver.pem",
            private_key=certificates / "authserver-key.pem",
            client_ca=certificates / "company.pem",
        ),
        database=database_url,
        issuer="authserver.example",
        audiences=frozenset({"payments"}),
        key_encryption_keys=(tmp_path / "kek-1",),
        peppers=(PepperConfig(id=1, file=tmp_path / "pepper-1"),),
        audit_key=tmp_path / "audit-key",
        statement_issuers=(),
    )


def provision(config: AuthServerConfig, database: Database) -> Credentials:
    """Provision an operator as somebody does who has this configuration."""
    installation = read_installation(config)
    by = Provisioner(installation.peppers, installation.trail, "operator:test", to_ms(time.time()))
    scopes = frozenset({"reviews.read"})
    return database.run_here(lambda connection: provision_staff(connection, by, ClientType.OPERATOR, "alice", scopes))


def keeper_of(config: AuthServerConfig) -> KeyKeeper:
    installation = read_installation(config)
    return KeyKeeper(installation.key_encryption, paces(config), installation.trail, "operator:test")


@pytest.fixture
def operator(config: AuthServerConfig, database: Database) -> Credentials:
    return provision(config, database)


async def test_replicas_that_start_at_once_on_an_empty_database_take_each_others_tokens(
    config: AuthServerConfig, certificates: Path, operator: Credentials
) -> None:
    async with two(config, certificates) as replicas:
        assert len(await replicas[0].kids()) == 1
        assert await replicas[0].kids() == await replicas[1].kids()
        for one, other in itertools.product(replicas, replicas):
            assert await other.takes(await one.token(operator))


async def test_hostile_tokens_are_refused_on_the_wire(
    config: AuthServerConfig, certificates: Path, operator: Credentials
) -> None:
    private_key = SigningKey.from_pem(create_pem())

    async with two(config, certificates) as (replica, _):
        good = await replica.token(operator)
        forged = [make(private_key, "pat+jwt", {"iss": config.issuer}) for make in HOSTILE.values()]
        for token in ("", "\0", "a" * 1_000_000, good + "a" * 1_000_000, good[:-1], good + "=", *forged):
            assert not await replica.takes(token)
        assert await replica.takes(good)


async def publish(count: int, replicas: Sequence[Replica]) -> None:
    """Wait until replicas publish so many keys."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for replica in replicas:
            while len(await replica.kids()) != count:
                pass


async def exchange_secrets_and_keys(made_by: Replica, replicas: Sequence[Replica], database: Database) -> None:
    """Have all take a client, and a signing key, that are made with the configuration of one."""
    credentials, keeper = provision(made_by.config, database), keeper_of(made_by.config)
    for replica in replicas:
        await replica.token(credentials)
    now_ms = to_ms(time.time())
    new = database.run_here(lambda connection: rotate_key(connection, keeper, Use.SIGNING, now_ms, at_once=False))
    await publish(2, replicas)
    database.run_here(lambda connection: retire_key(connection, keeper, new.times.key_id, now_ms))
    await publish(1, replicas)


async def test_key_encryption_key_and_pepper_are_replaced_without_downtime(
    config: AuthServerConfig, certificates: Path, operator: Credentials, database: Database
) -> None:
    old_kek, new_kek = config.key_encryption_keys[0], config.key_encryption_keys[0].with_name("kek-2")
    old, new = config.peppers[0], PepperConfig(id=2, file=config.peppers[0].file.with_name("pepper-2"))
    steps = [
        replace(config, key_encryption_keys=(old_kek, new_kek), peppers=(old, new)),
        replace(config, key_encryption_keys=(new_kek, old_kek), peppers=(new, old)),
        replace(config, key_encryption_keys=(new_kek,), peppers=(new,)),
    ]

    async with two(config, certificates) as replicas:
        tokens = [await replicas[0].token(operator)]

        async def check(*up: Replica) -> None:
            tokens.extend([await replica.token(operator) for replica in up])
            assert all([await replica.takes(token) for replica in up for token in tokens])
            for replica in up:
                await exchange_secrets_and_keys(replica, up, database)

        await check(*replicas)
        for step, (replica, other) in itertools.product(steps[:2], (replicas, replicas[::-1])):
            await replica.stop()
            await check(other)
            await replica.start(step)
            await check(*replicas)
        for replica, other in (replicas, replicas[::-1]):
            await replica.stop()
            await replica.start(steps[2])
            assert await replica.takes(tokens[0])
            await replica.token(operator)
            await other.token(operator)
    for file in (old_kek, new_kek):
        encryption = read_installation(replace(config, key_encryption_keys=(file,))).key_encryption
        live = [key for key in database.read_here(list_keys) if key.times.retire_time is None]
        assert [encryption.is_current(key.material, key.use) for key in live] == [file == new_kek] * 2


async def test_a_sealing_key_that_someone_else_has_is_replaced_and_dead_everywhere(
    config: AuthServerConfig, certificates: Path, operator: Credentials, database: Database
) -> None:
    keeper = keeper_of(config)

    async with two(config, certificates) as replicas:
        stolen = await replicas[0].token(operator)
        (old,) = [key for key in await database.read(list_keys) if key.use == Use.SEALING]
        watch = replicas[1].revocations.WatchRevocations(revocation_pb.WatchRevocationsRequest())
        await watch.read()
        now_ms = to_ms(time.time())
        new = await database.run(lambda connection: rotate_key(connection, keeper, Use.SEALING, now_ms, at_once=True))
        while time.time() * 1000 < new.times.activate_time + 200:  # nobody's good token is refused meanwhile
            for one, other in itertools.permutations(replicas):
                assert await other.takes(await one.token(operator))
                assert await other.takes(stolen)
        now_ms = to_ms(time.time())
        await database.run(lambda connection: retire_key(connection, keeper, old.times.key_id, now_ms))
        retired = time.monotonic()
        for replica in replicas:
            while await replica.takes(stolen):
                assert time.monotonic() < retired + PATIENCE_SECONDS
        for one, other in itertools.permutations(replicas):
            assert await other.takes(await one.token(operator))
        while not any(revocation.everything for revocation in (await watch.read()).revocations):
            assert time.monotonic() < retired + PATIENCE_SECONDS  # gateways drop what they have made of it
        watch.cancel()
