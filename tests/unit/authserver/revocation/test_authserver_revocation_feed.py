import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, text

from authserver.errors import ReplicaBehind
from authserver.revocation.feed import Feed
from authserver.revocation.store import Change, FeedEntry, News, feed_position, forget_before, publish, read_after
from mesh.access.revocation import Subject
from mesh.errors import Code
from mesh.storage.database import Database, DatabaseUnavailable
from tests.databases import statements
from tests.unit.authserver.meeting import overlap

PATIENCE_SECONDS = 60.0
NOW_MS = 1_800_000_000_000


def news(subject: str, kind: Subject | Change = Subject.CLIENT) -> News:
    return News(kind, subject)


def tell(database: Database, *subjects: str, kind: Subject | Change = Subject.CLIENT, now_ms: int = 1) -> None:
    database.run_here(lambda connection: publish(connection, [news(subject, kind) for subject in subjects], now_ms))


class Follower:
    """A feed, and what it has heard."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self.feed = Feed(database, clock)
        self.heard: list[FeedEntry] = []
        self.feed.listen(self.heard.extend)

    @property
    def subjects(self) -> list[str]:
        return [entry.news.name for entry in self.heard]


async def test_a_listener_hears_what_comes_after_the_start_in_order_and_once(database: Database) -> None:
    tell(database, "before")
    follower = Follower(database)

    await follower.feed.follow()
    assert follower.heard == []
    tell(database, "a", "b")
    tell(database, "c")
    await follower.feed.follow()
    await follower.feed.follow()
    assert follower.subjects == ["a", "b", "c"]
    positions = [entry.position for entry in follower.heard]
    assert positions == list(range(positions[0], positions[0] + 3))
    assert follower.feed.position == positions[-1] == database.read_here(feed_position)


async def test_much_news_at_once_is_heard_whole(database: Database) -> None:
    follower = Follower(database)
    subjects = [f"cli_{number}" for number in range(1001)]

    await follower.feed.follow()
    tell(database, *subjects)
    await follower.feed.follow()
    assert follower.subjects == subjects


async def test_positions_are_seen_in_their_order_though_transactions_end_in_another(database: Database) -> None:
    """On PostgreSQL the second one must wait for the first; on SQLite it can't begin before."""
    follower, loop = Follower(database), asyncio.get_running_loop()
    await follower.feed.follow()

    def look() -> None:
        asyncio.run_coroutine_threadsafe(follower.feed.follow(), loop).result(PATIENCE_SECONDS)
        assert follower.heard == []

    await asyncio.to_thread(
        overlap,
        database,
        lambda connection: publish(connection, [news("first")], 1),
        lambda connection: publish(connection, [news("second")], 1),
        meanwhile=look,
    )
    await follower.feed.follow()
    assert follower.subjects == ["first", "second"]


async def test_nothing_is_missed_of_what_many_write_at_once(database: Database) -> None:
    follower = Follower(database)
    await follower.feed.follow()
    names = [[f"cli_{writer}_{number}" for number in range(25)] for writer in range(4)]

    def write(subjects: Sequence[str]) -> None:
        for subject in subjects:
            tell(database, subject)

    writers = [threading.Thread(target=write, args=(subjects,)) for subjects in names]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        await follower.feed.follow()
    await follower.feed.follow()
    assert sorted(follower.subjects) == sorted(itertools.chain(*names))
    for subjects in names:
        assert [subject for subject in follower.subjects if subject in set(subjects)] == subjects
    positions = [entry.position for entry in follower.heard]
    assert positions == sorted(positions)


async def test_what_is_rolled_back_was_never_there(database: Database) -> None:
    follower = Follower(database)

    def fail(connection: Connection) -> None:
        publish(connection, [news("never")], 1)
        raise ZeroDivisionError

    await follower.feed.follow()
    with pytest.raises(ZeroDivisionError):
        await follower.feed.run(fail)
    tell(database, "real")
    await follower.feed.follow()
    assert follower.subjects == ["real"]


async def test_who_writes_has_heard_of_it_when_the_writing_is_done(database: Database) -> None:
    follower = Follower(database)

    await follower.feed.follow()
    await follower.feed.run(lambda connection: publish(connection, [news("mine")], 1))
    assert follower.subjects == ["mine"]


async def test_what_was_heard_is_current_for_half_a_second_from_when_it_was_asked_for(database: Database) -> None:
    now = [100.0]
    feed = Feed(database, lambda: now[0])
    slow = [0.0]
    read = database.read

    async def reading(work: Callable[[Connection], Any]) -> Any:
        found = await read(work)
        now[0] += slow[0]  # the answer was made at once, and took so long to come
        return found

    assert not feed.is_current()
    await feed.follow()
    assert feed.is_current()
    now[0] = 100.499
    assert feed.is_current()
    now[0] = 100.5
    assert not feed.is_current()
    slow[0] = 0.3
    database.read = reading  # type: ignore[method-assign]
    tell(database, "a")
    await feed.follow()
    assert now[0] == 100.8
    now[0] = 100.999
    assert feed.is_current()
    now[0] = 101.0
    assert not feed.is_current()
    slow[0] = 0.6
    tell(database, "b")
    await feed.follow()
    assert not feed.is_current()


async def test_while_nothing_changes_nothing_is_read_and_what_changes_by_any_connection_is_heard(
    database: Database,
) -> None:
    follower, reads = Follower(database), 0
    read = database.read

    async def counting(work: Callable[[Connection], Any]) -> Any:
        nonlocal reads
        reads += 1
        return await read(work)

    await follower.feed.follow()
    database.read = counting  # type: ignore[method-assign]
    for _ in range(10):
        await follower.feed.follow()
        assert follower.feed.is_current()
    assert reads <= 1  # PostgreSQL's first look only connects
    for number in range(3):
        tell(database, f"cli_{number}")
        await follower.feed.follow()
        await follower.feed.follow()
        assert follower.subjects == [f"cli_{each}" for each in range(number + 1)]


async def test_catching_up_asks_the_database_only_if_someone_knows_more(database: Database) -> None:
    follower = Follower(database)

    await follower.feed.follow()
    with statements(database) as sent:
        await follower.feed.catch_up(follower.feed.position)
        await follower.feed.catch_up(0)
    assert sent == []
    tell(database, "a")
    await follower.feed.catch_up(follower.feed.position + 1)
    assert follower.subjects == ["a"]


async def test_who_can_not_catch_up_says_so(database: Database) -> None:
    feed = Feed(database)

    await feed.follow()
    for beyond in (1, 2**32, 2**62):
        with pytest.raises(ReplicaBehind) as caught:
            await feed.catch_up(feed.position + beyond)
        assert caught.value.code is Code.UNAVAILABLE


async def test_a_look_answers_all_who_asked_before_it_began(database: Database) -> None:
    feed = Feed(database)

    await feed.follow()
    tell(database, "a")
    with statements(database) as alone:
        await feed.follow()
    tell(database, "b")
    with statements(database) as together:
        await asyncio.gather(*(feed.follow() for _ in range(10)))
    assert 0 < len(together) <= 2 * len(alone)


async def test_a_look_that_had_begun_before_does_not_answer(database: Database) -> None:
    follower = Follower(database)
    begun, go_on = asyncio.Event(), asyncio.Event()
    read = database.read

    async def reading(work: Callable[[Connection], Any]) -> Any:
        found = await read(work)
        begun.set()
        await go_on.wait()
        return found

    await follower.feed.follow()
    tell(database, "before")
    database.read = reading  # type: ignore[method-assign]
    early = asyncio.create_task(follower.feed.follow())
    await begun.wait()
    tell(database, "after it had read")
    late = asyncio.create_task(follower.feed.follow())
    go_on.set()
    await asyncio.gather(early, late)
    assert follower.subjects == ["before", "after it had read"]


async def test_after_everything_ends_positions_lie_beyond_what_anyone_can_have_seen(database: Database) -> None:
    follower = Follower(database)

    await follower.feed.follow()
    before = follower.feed.position
    tell(database, "", kind=Subject.EVERYTHING, now_ms=NOW_MS)
    await follower.feed.follow()
    assert [entry.news.what for entry in follower.heard] == [Subject.EVERYTHING]
    assert follower.feed.position >= before + 2**32
    tell(database, "a")
    await follower.feed.follow()
    assert follower.subjects == ["", "a"]


def go_back(database: Database, position: int) -> None:
    """Leave the feed as a backup would have it that was made at a position."""

    def restore(connection: Connection) -> None:
        connection.execute(text("DELETE FROM feed WHERE position > :position"), {"position": position})
        connection.execute(text("UPDATE feed_head SET position = :position"), {"position": position})

    database.run_here(restore)


async def test_who_knows_more_than_the_database_is_not_current_until_everything_has_ended(database: Database) -> None:
    follower = Follower(database)

    await follower.feed.follow()
    backup = follower.feed.position
    tell(database, "a", "b", "c")
    await follower.feed.follow()
    known = follower.feed.position
    go_back(database, backup)
    tell(database, "another")  # at a position that stood for something else
    await follower.feed.follow()
    assert not follower.feed.is_current()
    assert follower.feed.position == known
    assert follower.subjects == ["a", "b", "c"]
    tell(database, "", kind=Subject.EVERYTHING, now_ms=NOW_MS)
    await follower.feed.follow()
    assert follower.feed.is_current()
    assert follower.heard[-1].news.what == Subject.EVERYTHING
    assert follower.feed.position == database.read_here(feed_position)


async def test_who_was_away_for_longer_than_the_feed_is_kept_takes_all_it_knows_for_old(database: Database) -> None:
    away, present = Follower(database), Follower(database)

    for follower in (away, present):
        await follower.feed.follow()
    tell(database, "old", now_ms=1000)
    await present.feed.follow()
    tell(database, "new", now_ms=2000)
    database.run_here(lambda connection: forget_before(connection, 2000))
    for follower in (away, present):
        await follower.feed.follow()
        assert follower.feed.position == database.read_here(feed_position)
    assert present.subjects == ["old", "new"]
    assert [entry.news.what for entry in away.heard] == [Subject.EVERYTHING]


def test_two_who_forget_at_once_never_take_back_what_one_has_forgotten(database: Database) -> None:
    tell(database, "old", now_ms=1000)
    old = database.read_here(feed_position)
    tell(database, "new", now_ms=2000)
    overlap(
        database,
        lambda connection: forget_before(connection, 2001),
        lambda connection: forget_before(connection, 2000),  # its clock is a little behind
    )
    stretch = database.read_here(lambda connection: read_after(connection, old))
    assert [entry.news.what for entry in stretch.entries] == [Subject.EVERYTHING]


async def test_the_feed_is_followed_across_failures(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authserver.revocation.feed._RETRY_SECONDS", 0.001)
    follower = Follower(database)
    failures: list[Exception] = [DatabaseUnavailable("gone"), RuntimeError("a fault")]
    read = database.read

    async def reading(work: Callable[[Connection], Any]) -> Any:
        if failures:
            raise failures.pop()
        return await read(work)

    await follower.feed.follow()
    database.read = reading  # type: ignore[method-assign]
    following = asyncio.create_task(follower.feed.keep_following())
    heard = follower.feed.next_news
    tell(database, "a")
    await heard.wait()
    assert (follower.subjects, failures) == (["a"], [])
    assert follower.feed.is_current()
    following.cancel()
    await asyncio.wait([following])


async def test_who_stops_wakes_those_who_wait_for_news(database: Database) -> None:
    feed = Feed(database)

    waiting = asyncio.create_task(feed.next_news.wait())
    await asyncio.sleep(0)
    feed.stop()
    await waiting
    assert feed.stopped
