from collections.abc import Callable

import pytest
from sqlalchemy import text

from authserver.access_tokens import NEW, AccessToken, TokenRejected
from authserver.key_ring import KeyRing, load_key_ring
from mesh.access.rules import Caller, ClientType
from mesh.database import Database
from mesh.sealing import SealBroken
from mesh.signed_jwt import public_keys
from tests.databases import contents, rows
from tests.unit.authserver.company import KEY_ENCRYPTION_KEY

TOKEN = AccessToken(Caller("c", ClientType.WALLET, "", "", frozenset()), "jti", 1, NEW)
Load = Callable[[], KeyRing]


@pytest.fixture
def load(database: Database) -> Load:
    return lambda: database.run_here(lambda connection: load_key_ring(connection, KEY_ENCRYPTION_KEY, 1))


def test_keys_are_made_once_and_are_the_same_when_loaded_again(load: Load, database_url: str) -> None:
    first = load()
    before = rows(database_url)
    again = load()
    assert again.signing_key.kid == first.signing_key.kid
    assert again.sealer.open(first.sealer.seal(TOKEN)) == TOKEN
    assert rows(database_url) == before


def test_two_installations_have_different_keys(load: Load, database: Database) -> None:
    first = load()
    database.run_here(lambda connection: connection.execute(text("DELETE FROM keys")))
    second = load()
    assert first.signing_key.kid != second.signing_key.kid
    with pytest.raises(TokenRejected):
        second.sealer.open(first.sealer.seal(TOKEN))


def test_keys_do_not_open_under_another_key_encryption_key_and_are_not_replaced(
    load: Load, database: Database, database_url: str
) -> None:
    load()
    before = rows(database_url)
    with pytest.raises(SealBroken, match="wrong key file"):
        database.run_here(lambda connection: load_key_ring(connection, bytes(32), 1))
    assert rows(database_url) == before


@pytest.mark.parametrize("use", ["signing", "sealing"])
def test_a_key_that_was_changed_or_exchanged_in_the_database_is_refused(
    load: Load, database: Database, use: str
) -> None:
    load()
    statement = text("UPDATE keys SET material = (SELECT material FROM keys WHERE use <> :use) WHERE use = :use")
    database.run_here(lambda connection: connection.execute(statement, {"use": use}))
    with pytest.raises(SealBroken):
        load()


def test_keys_lie_sealed_in_the_database(load: Load, database_url: str) -> None:
    ring = load()
    content = contents(database_url)
    assert b"PRIVATE KEY" not in content
    secret = ring.signing_key.key.private_numbers().private_value.to_bytes(32, "big")
    assert secret not in content


def test_only_the_public_key_is_published(load: Load) -> None:
    ring = load()
    (jwk,) = ring.jwks()["keys"]
    assert jwk.keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}
    assert public_keys(ring.jwks()).keys() == {ring.signing_key.kid}
