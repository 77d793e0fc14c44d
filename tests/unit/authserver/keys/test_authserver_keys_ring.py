from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from authserver.access_tokens import NEW, AccessToken, TokenRejected
from authserver.audit.trail import Trail
from authserver.keys.encryption import KeyEncryption
from authserver.keys.ring import KeyRing
from authserver.keys.rotation import KeyKeeper, keep_keys, make_key, prepare_keys, retire_key, rotate_key
from authserver.keys.schedule import Pace, Use
from authserver.keys.store import list_keys
from authserver.revocation.feed import Feed
from authserver.revocation.store import read_after
from mesh.access.rules import Caller, ClientType
from mesh.security.signed_jwt import public_keys
from mesh.storage.database import Database, DatabaseUnavailable
from tests.databases import contents
from tests.unit.authserver.company import AUDIT_KEY, ENCRYPTION, NOW

TOKEN = AccessToken(Caller("c", ClientType.WALLET, "", "", frozenset()), "jti", 1, NEW)
PACE = Pace(period_ms=3_000_000, announce_ms=600_000, overlap_ms=660_000)


class Installation:
    """A database with keys, and the time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.keeper = KeyKeeper(ENCRYPTION, dict.fromkeys(Use, PACE), Trail(AUDIT_KEY, self.clock))
        self.run(prepare_keys)

    def clock(self) -> float:
        return self.now

    def run(self, work: Callable[..., Any], *arguments: object, **options: object) -> Any:
        now_ms = round(self.now * 1000)
        return self.database.run_here(
            lambda connection: work(connection, self.keeper, *arguments, now_ms=now_ms, **options)
        )

    def ring(self, encryption: KeyEncryption = ENCRYPTION) -> KeyRing:
        ring = KeyRing(self.database, encryption, self.clock)
        ring.take(self.database.read_here(list_keys))
        return ring

    def rotate(self, *, at_once: bool = False) -> None:
        for use in Use:
            self.run(rotate_key, use, at_once=at_once)


@pytest.fixture
def installation(database: Database) -> Installation:
    return Installation(database)


def kids(ring: KeyRing) -> list[str]:
    return [jwk["kid"] for jwk in ring.jwks()["keys"]]


def opens(ring: KeyRing, sealed: str) -> bool:
    try:
        return ring.sealer.open(sealed) == TOKEN
    except TokenRejected:
        return False


def test_two_replicas_have_the_same_keys(installation: Installation) -> None:
    first, second = installation.ring(), installation.ring()
    assert first.signing_key.kid == second.signing_key.kid
    assert opens(second, first.sealer.seal(TOKEN))


def test_two_installations_have_different_keys(database: Database) -> None:
    first = Installation(database).ring()
    database.run_here(lambda connection: connection.exec_driver_sql("DELETE FROM keys"))
    second = Installation(database).ring()
    assert first.signing_key.kid != second.signing_key.kid
    assert not opens(second, first.sealer.seal(TOKEN))


def test_an_announced_key_verifies_and_opens_and_is_not_used(installation: Installation, database: Database) -> None:
    old = installation.ring()
    installation.rotate()
    ring = installation.ring()
    assert ring.signing_key.kid == old.signing_key.kid
    assert len(kids(ring)) == 2
    assert opens(old, ring.sealer.seal(TOKEN))
    early = KeyRing(database, ENCRYPTION, lambda: NOW + 600)  # a replica whose clock is ahead
    early.take(database.read_here(list_keys))
    assert opens(ring, early.sealer.seal(TOKEN))
    assert early.signing_key.kid in kids(ring)


def test_a_key_comes_into_use_and_its_predecessor_goes_by_the_clock_alone(installation: Installation) -> None:
    installation.rotate()
    ring = installation.ring()
    old_kid, old_token = ring.signing_key.kid, ring.sealer.seal(TOKEN)
    installation.now = NOW + 600
    assert ring.signing_key.kid != old_kid
    assert set(kids(ring)) == {old_kid, ring.signing_key.kid}
    new_token = ring.sealer.seal(TOKEN)
    assert opens(ring, old_token)
    installation.now = NOW + 1259.9
    assert opens(ring, old_token)
    installation.now = NOW + 1260
    assert not opens(ring, old_token)
    assert opens(ring, new_token)
    assert kids(ring) == [ring.signing_key.kid]
    installation.now = NOW + 599  # clocks are set back at times
    assert ring.signing_key.kid == old_kid
    assert opens(ring, old_token)


def test_keys_lie_sealed_in_the_database(installation: Installation, database_url: str) -> None:
    ring = installation.ring()
    content = contents(database_url)
    assert b"PRIVATE KEY" not in content
    secret = ring.signing_key.key.private_numbers().private_value.to_bytes(32, "big")
    assert secret not in content


async def test_only_public_keys_are_published(installation: Installation) -> None:
    ring = installation.ring()
    (jwk,) = ring.jwks()["keys"]
    assert jwk.keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}
    assert public_keys(ring.jwks()).keys() == {ring.signing_key.kid}
    assert (await ring.published()).keys() == {ring.signing_key.kid}


def test_a_ring_without_keys_says_so(database: Database) -> None:
    with pytest.raises(LookupError, match="no key"):
        KeyRing(database, ENCRYPTION, lambda: NOW).sealer  # noqa: B018 - what is tested


@pytest.fixture
async def ring(installation: Installation) -> KeyRing:
    return installation.ring()


@pytest.fixture
async def feed(installation: Installation, ring: KeyRing) -> Feed:
    """Follow the feed, as a replica does."""
    feed = Feed(installation.database)
    feed.listen(ring.hear)
    await feed.follow()
    return feed


async def test_a_change_is_read_when_the_feed_tells_of_it(
    installation: Installation, ring: KeyRing, feed: Feed
) -> None:
    installation.rotate()
    await ring.catch_up()
    assert len(kids(ring)) == 1
    assert not ring.changed.is_set()
    await feed.follow()
    assert ring.changed.is_set()
    await ring.catch_up()
    assert len(kids(ring)) == 2


async def test_without_a_change_no_key_is_read(
    installation: Installation, ring: KeyRing, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.rotate()
    await feed.follow()
    await ring.catch_up()
    monkeypatch.setattr(installation.database, "read", None)
    await ring.catch_up()


async def test_a_change_during_the_reading_is_read_too(
    installation: Installation, ring: KeyRing, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = installation.database.read

    async def slow(work: Callable[[Connection], Any]) -> Any:
        found = await read(work)
        monkeypatch.setattr(installation.database, "read", read)
        installation.rotate(at_once=True)  # after what was read
        await feed.follow()
        return found

    monkeypatch.setattr(installation.database, "read", slow)
    ring.hear(await read(lambda connection: read_after(connection, 1).entries))
    await ring.catch_up()
    assert len(kids(ring)) == 2


async def test_as_long_as_a_change_can_not_be_read_nobody_goes_on_without_it(
    installation: Installation, ring: KeyRing, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: object) -> None:
        raise DatabaseUnavailable("the database is not available")

    installation.rotate()
    await feed.follow()
    with monkeypatch.context() as patch:
        patch.setattr(installation.database, "read", gone)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                await ring.catch_up()
    await ring.catch_up()
    assert len(kids(ring)) == 2


async def test_a_retired_key_opens_nothing_once_the_feed_tells(
    installation: Installation, ring: KeyRing, feed: Feed
) -> None:
    stolen = ring.sealer.seal(TOKEN)
    installation.run(rotate_key, Use.SEALING, at_once=True)
    installation.now += 2
    (old, _) = [key for key in installation.database.read_here(list_keys) if key.use == Use.SEALING]
    installation.run(retire_key, old.times.key_id)
    await feed.follow()
    await ring.catch_up()
    assert not opens(ring, stolen)


async def test_a_key_that_can_not_be_opened_is_left_out_and_the_others_go_on(
    installation: Installation, ring: KeyRing
) -> None:
    token = ring.sealer.seal(TOKEN)
    elsewhere = KeyEncryption([bytes(32)])
    added = installation.database.run_here(lambda connection: make_key(connection, elsewhere, Use.SEALING, 0, 1))
    with capture_logs() as log:
        await ring.reload()
    assert opens(ring, token)
    assert [line.get("key_ids") for line in log] == [[added.times.key_id]]


def test_keys_that_were_opened_stay_so_when_they_are_sealed_anew_under_an_unknown_key(
    installation: Installation,
) -> None:
    ring = installation.ring()
    token = ring.sealer.seal(TOKEN)
    new = bytes(range(5, 37))
    keeper = KeyKeeper(KeyEncryption([new, bytes(range(1, 33))]), installation.keeper.paces, installation.keeper.trail)
    installation.database.run_here(lambda connection: prepare_keys(connection, keeper, round(NOW * 1000)))
    assert ring.take(installation.database.read_here(list_keys)) == []
    assert opens(ring, token)
    assert installation.ring(KeyEncryption([new])).sealer.open(token) == TOKEN


def test_a_destroyed_key_is_forgotten(installation: Installation) -> None:
    installation.rotate()
    ring = installation.ring()
    installation.now = NOW + 1260 + 24 * 3600
    installation.run(keep_keys)
    stored = installation.database.read_here(list_keys)
    ring.take(stored)
    assert {key.times.key_id for key in stored} == set(ring._opened)  # noqa: SLF001 - secrets must not outlive their key
