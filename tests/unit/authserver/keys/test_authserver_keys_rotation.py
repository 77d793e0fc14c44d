import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from authserver.audit.store import read_page
from authserver.audit.trail import Trail
from authserver.keys.encryption import KeyEncryption
from authserver.keys.rotation import (
    KeyChangeRefused,
    KeyKeeper,
    is_work_due,
    keep_keys,
    paces,
    prepare_keys,
    retire_key,
    rotate_key,
)
from authserver.keys.schedule import KeyState, KeyTimes, Pace, Use, active_key, state_of
from authserver.keys.store import StoredKey, list_keys
from authserver.revocation.store import Change, read_after
from mesh.access.revocation import Subject
from mesh.security.sealing import SealBroken
from mesh.storage.database import Database
from tests.databases import rows
from tests.fuzz.effort import examples
from tests.unit.authserver.company import AUDIT_KEY, ENCRYPTION, KEY_ENCRYPTION_KEY, NOW

T = TypeVar("T")

NOW_MS = round(NOW * 1000)
DAY_MS = 24 * 3600 * 1000
ANNOUNCE_MS = 600_000
SIGNING = Pace(90 * DAY_MS, ANNOUNCE_MS, 360_000)
SEALING = Pace(30 * DAY_MS, ANNOUNCE_MS, 660_000)
TRAIL = Trail(AUDIT_KEY, lambda: NOW)
NEW_KEY = bytes(range(3, 35))


class Keys:
    """The keys of an installation, changed at a time that the test sets."""

    def __init__(self, database: Database, encryption: KeyEncryption = ENCRYPTION) -> None:
        self.database = database
        self.keeper = KeyKeeper(encryption, {Use.SIGNING: SIGNING, Use.SEALING: SEALING}, TRAIL, "operator:test")
        self.now_ms = NOW_MS

    def run(self, work: Callable[..., T], *arguments: object, **options: object) -> T:
        return self.database.run_here(
            lambda connection: work(connection, self.keeper, *arguments, now_ms=self.now_ms, **options)
        )

    def prepare(self) -> Sequence[StoredKey]:
        return self.run(prepare_keys)

    def keep(self) -> None:
        self.run(keep_keys)

    def rotate(self, use: Use = Use.SEALING, *, at_once: bool = False) -> int:
        return self.run(rotate_key, use, at_once=at_once).times.key_id

    def retire(self, key_id: int) -> StoredKey:
        return self.run(retire_key, key_id)

    def stored(self) -> Sequence[StoredKey]:
        return self.database.read_here(list_keys)

    def times(self, use: Use = Use.SEALING) -> list[KeyTimes]:
        return [key.times for key in self.stored() if key.use == use]

    def states(self, use: Use = Use.SEALING) -> list[KeyState]:
        times = self.times(use)
        return [state_of(key, times, self.now_ms) for key in times]

    def is_due(self) -> bool:
        return is_work_due(self.stored(), self.keeper, self.now_ms)

    def actions(self) -> list[tuple[str, str, str]]:
        lines = self.database.read_here(read_page)
        return [(each.line.actor, each.line.action, each.line.subject) for each in lines]

    def news(self) -> list[Subject | Change]:
        entries = self.database.read_here(lambda connection: read_after(connection, 1).entries)
        return [entry.news.what for entry in entries]


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


def test_an_empty_database_gets_a_key_of_each_use_in_use_at_once(keys: Keys) -> None:
    keys.prepare()
    assert keys.states(Use.SIGNING) == keys.states(Use.SEALING) == [KeyState.ACTIVE]


def test_keys_are_made_once(keys: Keys, database_url: str) -> None:
    keys.prepare()
    before = rows(database_url)
    keys.prepare()
    keys.keep()
    assert rows(database_url) == before


def at_once(works: Sequence[Callable[[], object]]) -> None:
    """Do things in threads that all start at the same moment."""
    barrier = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def start(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=start, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_replicas_that_start_at_once_agree_on_one_set(database: Database, database_url: str) -> None:
    replicas = [Keys(database), *(Keys(Database(database_url)) for _ in range(3))]
    at_once([replica.prepare for replica in replicas])
    assert [key.use for key in replicas[0].stored()] in ([Use.SIGNING, Use.SEALING], [Use.SEALING, Use.SIGNING])
    for replica in replicas[1:]:
        replica.database.close()


def test_replicas_that_find_a_successor_due_at_once_announce_one(database: Database, database_url: str) -> None:
    replicas = [Keys(database), *(Keys(Database(database_url)) for _ in range(3))]
    replicas[0].prepare()
    for replica in replicas:
        replica.now_ms += 30 * DAY_MS
        assert replica.is_due()
    at_once([replica.keep for replica in replicas])
    assert len(replicas[0].times(Use.SEALING)) == 2
    assert not replicas[0].is_due()
    for replica in replicas[1:]:
        replica.database.close()


def test_a_successor_comes_by_schedule_and_its_predecessor_goes(keys: Keys) -> None:
    keys.prepare()
    story = [
        (30 * DAY_MS - ANNOUNCE_MS - 1, ["active"]),
        (1, ["active", "announced"]),
        (ANNOUNCE_MS - 1, ["active", "announced"]),
        (1, ["retiring", "active"]),
        (SEALING.overlap_ms - 1, ["retiring", "active"]),
        (1, ["retired", "active"]),
        (DAY_MS - 1, ["retired", "active"]),
        (1, ["active"]),
    ]
    for step_ms, states in story:
        keys.now_ms += step_ms
        keys.keep()
        assert keys.states() == states


def test_it_is_said_whether_anything_is_due(keys: Keys) -> None:
    assert keys.is_due()
    keys.prepare()
    assert not keys.is_due()
    keys.now_ms += 30 * DAY_MS - ANNOUNCE_MS
    assert keys.is_due()
    keys.keep()
    assert not keys.is_due()
    keys.now_ms += ANNOUNCE_MS + SEALING.overlap_ms + DAY_MS
    assert keys.is_due()


def test_a_destroyed_keys_material_is_gone_and_its_id_is_never_used_again(keys: Keys, database: Database) -> None:
    keys.prepare()
    announced = keys.rotate()
    keys.retire(announced)
    keys.now_ms += DAY_MS
    keys.keep()
    assert announced not in [key.key_id for key in keys.times()]
    material = text("SELECT material FROM keys WHERE key_id = :id")
    left = database.read_here(lambda connection: connection.execute(material, {"id": announced}).scalar_one())
    assert bytes(left) == b""
    assert keys.rotate() > announced


def test_rotation_announces_a_successor(keys: Keys) -> None:
    keys.prepare()
    keys.rotate()
    old, new = keys.times()
    assert new.activate_time == NOW_MS + ANNOUNCE_MS
    assert old.retire_time == NOW_MS + ANNOUNCE_MS + SEALING.overlap_ms
    assert keys.states() == ["active", "announced"]
    assert keys.states(Use.SIGNING) == ["active"]


def test_a_second_rotation_is_refused_while_a_key_is_announced(keys: Keys) -> None:
    keys.prepare()
    announced = keys.rotate()
    with pytest.raises(KeyChangeRefused, match=f"key {announced} is announced already"):
        keys.rotate()
    assert len(keys.times()) == 2


def test_in_an_emergency_the_successor_is_used_after_two_seconds(keys: Keys) -> None:
    keys.prepare()
    keys.rotate(at_once=True)
    keys.now_ms += 1999
    assert keys.states() == ["active", "announced"]
    keys.now_ms += 1
    assert keys.states() == ["retiring", "active"]
    keys.now_ms += SEALING.overlap_ms
    assert keys.states() == ["retired", "active"]


def test_in_an_emergency_a_key_that_is_announced_is_the_one_to_be_used(keys: Keys) -> None:
    keys.prepare()
    announced = keys.rotate()
    assert keys.rotate(at_once=True) == announced
    keys.now_ms += 2000
    assert keys.states() == ["retiring", "active"]
    keys.now_ms += SEALING.overlap_ms
    assert keys.states() == ["retired", "active"]


def test_a_key_that_is_used_sooner_anyway_is_not_put_off_by_an_emergency(keys: Keys) -> None:
    keys.prepare()
    keys.rotate()
    keys.now_ms += ANNOUNCE_MS - 1000
    keys.rotate(at_once=True)
    keys.now_ms += 1000
    assert keys.states() == ["retiring", "active"]


def test_the_key_in_use_is_not_retired(keys: Keys) -> None:
    keys.prepare()
    (active,) = keys.times()
    keys.rotate()
    with pytest.raises(KeyChangeRefused, match="keys rotate sealing --now"):
        keys.retire(active.key_id)
    assert keys.states() == ["active", "announced"]


def test_an_old_key_is_retired_at_once(keys: Keys) -> None:
    keys.prepare()
    (old,) = keys.times()
    keys.rotate(at_once=True)
    keys.now_ms += 2000
    assert keys.retire(old.key_id).times.retire_time == keys.now_ms
    assert keys.states() == ["retired", "active"]


def test_when_an_announced_key_is_retired_the_one_in_use_goes_on_without_end(keys: Keys) -> None:
    keys.prepare()
    announced = keys.rotate()
    keys.retire(announced)
    assert keys.states() == ["active", "retired"]
    keys.now_ms += ANNOUNCE_MS + SEALING.overlap_ms
    assert keys.states() == ["active", "retired"]


@pytest.mark.parametrize("key_id", [0, -1, 99, 2**40])
def test_a_key_that_is_not_there_is_not_retired(keys: Keys, key_id: int) -> None:
    keys.prepare()
    with pytest.raises(KeyChangeRefused, match="there is no key"):
        keys.retire(key_id)


def test_a_retired_key_is_not_retired_again(keys: Keys) -> None:
    keys.prepare()
    announced = keys.rotate()
    keys.retire(announced)
    keys.now_ms += 1000
    with pytest.raises(KeyChangeRefused, match="retired already"):
        keys.retire(announced)


def test_every_change_is_told_to_the_replicas_and_to_the_audit_log(keys: Keys) -> None:
    keys.prepare()
    old, new = keys.times()[0].key_id, keys.rotate(at_once=True)
    keys.now_ms += 2000
    keys.retire(old)
    keys.now_ms += DAY_MS
    keys.keep()
    assert [(actor, action) for actor, action, _ in keys.actions()] == [
        ("operator:test", action) for action in ("key.announce",) * 3 + ("key.retire", "key.destroy")
    ]
    assert [subject for *_, subject in keys.actions()[2:]] == [
        f"sealing key {new}",
        f"sealing key {old}",
        f"sealing key {old}",
    ]
    assert keys.news() == [Change.KEYS_CHANGED] * 4 + [Subject.EVERYTHING, Change.KEYS_CHANGED]


def test_gateways_keep_what_they_have_when_a_key_that_was_never_used_is_retired(keys: Keys) -> None:
    keys.prepare()
    keys.retire(keys.rotate())
    assert Subject.EVERYTHING not in keys.news()


def test_a_refused_change_leaves_nothing(keys: Keys, database_url: str) -> None:
    keys.prepare()
    keys.rotate()
    before = rows(database_url)
    for change in (keys.rotate, lambda: keys.retire(99), lambda: keys.retire(keys.times()[0].key_id)):
        with pytest.raises(KeyChangeRefused):
            change()
    assert rows(database_url) == before


def test_keys_under_an_old_key_encryption_key_are_sealed_anew_at_start(keys: Keys, database: Database) -> None:
    keys.prepare()
    materials = [KEY_ENCRYPTION_KEY, NEW_KEY]
    before = [ENCRYPTION.unseal(key.material, key.use) for key in keys.stored()]
    Keys(database, KeyEncryption(materials)).prepare()
    assert all(ENCRYPTION.is_current(key.material, key.use) for key in keys.stored())
    Keys(database, KeyEncryption(materials[::-1])).prepare()
    only_new = KeyEncryption([NEW_KEY])
    assert [only_new.unseal(key.material, key.use) for key in keys.stored()] == before
    assert [action for _, action, _ in keys.actions()[2:]] == ["key.reseal", "key.reseal"]
    with pytest.raises(SealBroken):
        keys.prepare()


def test_replicas_with_different_first_key_encryption_keys_do_not_undo_each_others_work(
    database: Database, database_url: str
) -> None:
    Keys(database, KeyEncryption([NEW_KEY, KEY_ENCRYPTION_KEY])).prepare()
    behind = Keys(database, KeyEncryption([KEY_ENCRYPTION_KEY, NEW_KEY]))
    before = rows(database_url)
    assert not behind.is_due()
    behind.keep()
    assert rows(database_url) == before


def test_a_key_under_none_of_the_key_encryption_keys_is_neither_opened_nor_replaced(
    keys: Keys, database: Database, database_url: str
) -> None:
    keys.prepare()
    before = rows(database_url)
    with pytest.raises(SealBroken, match="wrong key file"):
        Keys(database, KeyEncryption([NEW_KEY])).prepare()
    assert rows(database_url) == before


@pytest.mark.parametrize("use", ["signing", "sealing"])
def test_a_key_that_was_exchanged_for_one_of_another_use_is_refused(keys: Keys, database: Database, use: str) -> None:
    keys.prepare()
    statement = text("UPDATE keys SET material = (SELECT material FROM keys WHERE use <> :use) WHERE use = :use")
    database.run_here(lambda connection: connection.execute(statement, {"use": use}))
    with pytest.raises(SealBroken):
        keys.prepare()


# What is done, or how many milliseconds pass until the schedule is looked at.
PAUSES = [2000, ANNOUNCE_MS - 1, SEALING.overlap_ms - 1000, 30 * DAY_MS - ANNOUNCE_MS, 40 * DAY_MS]
ACTS = st.lists(st.sampled_from(["rotate", "rotate now", "retire", *PAUSES]), min_size=10, max_size=40)


@settings(
    max_examples=examples(12, 40), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(ACTS)
def test_whatever_is_done_a_key_is_in_use_and_its_tokens_open_until_they_expire(keys: Keys, acts: list[object]) -> None:
    keys.database.run_here(lambda connection: connection.execute(text("DELETE FROM keys")))
    keys.now_ms = NOW_MS
    keys.prepare()
    tokens: list[tuple[int, int]] = []  # the key that sealed each, and when the token expires
    ended: set[int] = set()
    for act in acts:
        times = keys.times()
        active = active_key(times, keys.now_ms)
        assert active is not None
        tokens.append((active.key_id, keys.now_ms + SEALING.overlap_ms))
        if isinstance(act, int):
            keys.now_ms += act
            keys.keep()
        elif act == "retire":
            others = [key for key in times if key != active and key.is_live(keys.now_ms)]
            ended |= {keys.retire(key.key_id).times.key_id for key in others[:1]}
        elif act == "rotate now" or not any(key.is_announced(keys.now_ms) for key in times):
            keys.rotate(at_once=act == "rotate now")
        live = {key.key_id for key in keys.times() if key.is_live(keys.now_ms)}
        tokens = [(key_id, expiry) for key_id, expiry in tokens if keys.now_ms < expiry]
        assert {key_id for key_id, _ in tokens} <= live | ended
        assert [key.retire_time for key in keys.times() if key.is_live(keys.now_ms)][-1:] == [None]


def test_the_paces_follow_the_configuration() -> None:
    class Config:
        signing_key_days, sealing_key_days, key_announce_seconds = 90, 30, 600
        private_token_ttl_seconds, access_token_ttl_seconds = 300, 600

    assert paces(Config) == {Use.SIGNING: SIGNING, Use.SEALING: SEALING}  # type: ignore[arg-type]
