"""This server's place in the feed: how far it has come, and who hears of what comes next."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from authserver.errors import ReplicaBehind
from authserver.revocation.store import HEAD, FeedEntry, Stretch, feed_position, read_after
from mesh.errors import DatabaseUnavailable
from mesh.storage.database import Database

T = TypeVar("T")

_PAUSE_SECONDS = 0.1
_RETRY_SECONDS = 1.0
_CURRENT_SECONDS = 0.5
_NEVER = float("-inf")

_log = structlog.get_logger()


class Feed:
    """Follows the feed in the database, which every replica writes to.

    Args:
        database: Where it is.
        clock: Seconds that never go back.

    Attributes:
        position: Listeners have heard of all up to here.
        next_news: Set when there is more to hear, or the server stops; then another one takes its place.
        stopped: Whether the server stops.

    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """Start before everything; `follow` once before serving."""
        self.position = 0
        self.next_news = asyncio.Event()
        self.stopped = False
        self._database = database
        self._clock = clock
        self._looked_at = _NEVER
        self._listeners: list[Callable[[Sequence[FeedEntry]], None]] = []
        self._looking = asyncio.Lock()
        self._changes = database.change_detector(HEAD)
        self._read: tuple[object, int] | None = None  # the database's state, and the position that was read up to then

    def listen(self, listener: Callable[[Sequence[FeedEntry]], None]) -> None:
        """Have a listener told of entries as they come, on the event loop."""
        self._listeners.append(listener)

    def is_current(self) -> bool:
        """Return whether what was heard is at most half a second old, so that memory may stand for the database."""
        return self._clock() - self._looked_at < _CURRENT_SECONDS

    async def follow(self) -> None:
        """Look once for what is new.

        Raises:
            DatabaseUnavailable: If the database can't be reached.

        """
        asked = self._clock()
        async with self._looking:
            if self._looked_at < asked:  # else someone else's look, which began later than this, has done it
                await self._look()

    async def keep_following(self) -> None:
        """Look for what is new again and again."""
        while True:
            try:
                await self.follow()
            except DatabaseUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # noqa: BLE001 - until a look succeeds, the database is asked each time
                _log.exception("the feed can't be read; trying again")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def catch_up(self, position: int) -> None:
        """Come at least to a position that someone else has seen.

        Raises:
            ReplicaBehind: If the database has not come that far.
            DatabaseUnavailable: If it can't be reached.

        """
        if self.position < position:
            await self.follow()
        if self.position < position:
            _log.error("a gateway knows more than the database: if that was restored, run: sekisho auth restored")
            raise ReplicaBehind("this server does not know yet what was revoked; try again")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a unit of work that may publish, and hear of what it published before this returns.

        Raises:
            DatabaseUnavailable: If the database can't be reached.

        """
        result = await self._database.run(work)
        with suppress(DatabaseUnavailable):  # it is done; whoever follows will hear
            await self.follow()
        return result

    def stop(self) -> None:
        """Wake all who wait for news: the server stops."""
        self.stopped = True
        self.next_news.set()

    async def _look(self) -> None:
        asked = self._clock()
        state = await self._changes.state()  # first: what changes while the rest is read is found the next time
        if state is not None and (state, self.position) == self._read:
            self._looked_at = asked
            return
        self._read = None
        if not self.position:  # nothing is in memory yet that could be old
            self.position = await self._database.read(feed_position)
        last = False
        while not last:
            stretch = await self._database.read(lambda connection: read_after(connection, self.position))
            if stretch.reached < self.position:
                if self._looked_at != _NEVER:  # once
                    _log.error("the database lost a part of its feed: if it was restored, run: sekisho auth restored")
                self._looked_at = _NEVER
                return
            self._hear(stretch)
            last = stretch.last
        self._looked_at, self._read = asked, (state, self.position)

    def _hear(self, stretch: Stretch) -> None:
        if stretch.reached > self.position:
            self.position = stretch.reached
            for listener in self._listeners:
                listener(stretch.entries)
            self.next_news.set()
            self.next_news = asyncio.Event()
