"""A database that the first version made, with rows in it, is brought to the schema of this one."""

import hmac
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text

from authserver.access_tokens import Epochs
from authserver.clients.secrets import Digest, Peppers, new_client_secret
from authserver.clients.store.clients import Client, count_clients, find_client, find_statement_client
from authserver.clients.store.platforms import find_platform
from authserver.revocation.store import feed_position, read_after
from authserver.tables import MAX_CLIENTS, METADATA
from mesh.access.rules import ClientType
from mesh.storage.database import Database
from mesh.storage.migrations import upgrade
from tests.databases import schema, upgrade_to

PEPPER = bytes(range(32))
SECRETS = {client_id: new_client_secret() for client_id in ("cli_master", "cli_shop", "cli_alice")}
CLIENTS = [
    ("cli_master", "MASTER", "shops", None, "clients.write", 3),
    ("cli_shop", "PARTNER", "shops", "ptr_1", "payments.read", 4),
    ("cli_alice", "OPERATOR", None, None, "reviews.write", 5),
]


def digest(secret: str) -> bytes:
    return hmac.digest(PEPPER, secret.encode(), "sha256")


def fill(connection: Connection) -> None:
    connection.execute(text("INSERT INTO platforms VALUES ('shops', 'payments.read payments.write', 7, 1)"))
    connection.execute(text("INSERT INTO partners VALUES ('ptr_1', 'shops', 8, 2)"))
    keys = ("id", "type", "platform", "partner", "scope", "epoch")
    for row in CLIENTS:
        insert = text(
            "INSERT INTO clients VALUES (:id, :type, 'a name', :platform, :partner, :scope, :epoch, :mac, 30)"
        )
        connection.execute(insert, {**dict(zip(keys, row, strict=True)), "mac": digest(SECRETS[row[0]])})
    connection.execute(text("INSERT INTO software_statements VALUES ('payments', 'app_1', 'cli_shop')"))
    insert = text('INSERT INTO keys ("use", material, create_time) VALUES (:use, :material, :time)')
    connection.execute(insert, [{"use": use, "material": use.encode(), "time": 40} for use in ("signing", "sealing")])


@pytest.fixture
def upgraded(new_database_url: Callable[[], str]) -> Iterator[Database]:
    database = Database(new_database_url())
    database.run_here(lambda connection: upgrade_to(connection, "authserver", "0001"))
    database.run_here(fill)
    assert database.run_here(lambda connection: upgrade(connection, "authserver")) == ["0002", "0003", "0004"]
    yield database
    database.close()


def test_each_client_goes_on_with_the_secret_that_it_has(upgraded: Database) -> None:
    for client_id, client_type, platform_id, partner_id, scope, epoch in CLIENTS:
        client = upgraded.read_here(lambda connection, wanted=client_id: find_client(connection, wanted))
        assert isinstance(client, Client)
        (secret,) = client.secrets
        assert secret.digest == Digest(1, digest(SECRETS[client_id]))
        assert Peppers({1: PEPPER}, 1).matches(SECRETS[client_id], secret.digest)
        assert (secret.create_time, secret.expire_time, secret.last_use_time) == (30, None, None)
        epochs = Epochs(epoch, 8 if partner_id else 0, 7 if platform_id else 0)
        assert client == Client(
            client_id=client_id,
            client_type=ClientType(client_type),
            client_name="a name",
            platform_id=platform_id or "",
            partner_id=partner_id or "",
            scopes=frozenset({scope}),
            epochs=epochs,  # so tokens that were issued before hold, too
            create_time=30,
            secrets=(secret,),
        )


def test_platforms_get_the_usual_quota_and_used_statements_stay_used(upgraded: Database) -> None:
    platform = upgraded.read_here(lambda connection: find_platform(connection, "shops"))
    assert platform is not None
    assert (platform.ceiling, platform.max_clients) == ({"payments.read", "payments.write"}, MAX_CLIENTS)
    assert upgraded.read_here(lambda connection: count_clients(connection, "shops")) == 1
    assert upgraded.read_here(lambda connection: find_statement_client(connection, "payments", "app_1")) == "cli_shop"


def test_the_keys_that_there_are_go_on_in_use(upgraded: Database) -> None:
    query = text('SELECT "use", material, create_time, activate_time, retire_time FROM keys ORDER BY key_id')
    rows = upgraded.read_here(lambda connection: connection.execute(query).all())
    assert [(row.use, bytes(row.material), row[2:]) for row in rows] == [
        ("signing", b"signing", (40, 40, None)),
        ("sealing", b"sealing", (40, 40, None)),
    ]


def test_the_feed_and_the_audit_log_begin(upgraded: Database) -> None:
    position = upgraded.read_here(feed_position)
    stretch = upgraded.read_here(lambda connection: read_after(connection, position))
    assert (position, stretch.entries, stretch.last) == (1, [], True)
    head = upgraded.read_here(lambda connection: connection.execute(text("SELECT sequence, mac FROM audit_head")).one())
    assert (head.sequence, bytes(head.mac)) == (0, bytes(32))


def test_an_upgraded_database_is_like_a_new_one(upgraded: Database, new_database_url: Callable[[], str]) -> None:
    declared = Database(new_database_url())
    declared.run_here(METADATA.create_all)
    expected = declared.read_here(lambda connection: schema(connection, METADATA))
    declared.close()
    assert upgraded.read_here(lambda connection: schema(connection, METADATA)) == expected
