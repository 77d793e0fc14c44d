"""Who is watching which partner's payments on this server, and what wakes them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from mesh.errors import Code, ServerStopping, ServiceError
from mesh.storage.database import Database
from payments.store.events import count_events

_MAX_OF_PARTNER = 20


class TooManyWatches(ServiceError):
    """The partner, or all of them together, watch as often as this server allows."""

    code = Code.RESOURCE_EXHAUSTED


class Watch:
    """One open watch.

    Attributes:
        position: The number of the last event that was sent.

    """

    def __init__(self, position: int) -> None:
        """Start after an event, with all later ones to be read."""
        self.position = position
        self._stopping = False
        self._news = asyncio.Event()
        self._news.set()

    async def news(self, until: float) -> bool:
        """Wait for later events, at most until a time by the event loop's clock; return whether there may be any.

        What comes after this returns is for the next time.

        Raises:
            ServerStopping: If the server stops.

        """
        try:
            async with asyncio.timeout_at(until):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        if self._stopping:
            raise ServerStopping("the server stops; resume the watch on another one")
        return True

    def wake(self) -> None:
        """Say that there may be later events."""
        self._news.set()

    def stop(self) -> None:
        """End the watch."""
        self._stopping = True
        self._news.set()


class Watches:
    """The open watches of this server. They live on the event loop; nothing is kept of a partner that nobody watches.

    Args:
        database: Where other servers write events, too.
        max_watches: How many watches at once, at most, of all partners together.

    """

    def __init__(self, database: Database, max_watches: int) -> None:
        self._database = database
        self._max_watches = max_watches
        self._watches: dict[str, set[Watch]] = {}
        self._stopping = False

    def __len__(self) -> int:
        """Return how many are open."""
        return sum(map(len, self._watches.values()))

    @contextmanager
    def open(self, partner_id: str, position: int) -> Iterator[Watch]:
        """Watch a partner's events after the one with a number, for as long as the context lasts.

        Raises:
            TooManyWatches: If there are as many as may be.
            ServerStopping: If the server stops.

        """
        if self._stopping:
            raise ServerStopping("the server stops; watch on another one")
        if len(self._watches.get(partner_id, ())) >= _MAX_OF_PARTNER:
            raise TooManyWatches(f"there are {_MAX_OF_PARTNER} watches of this partner already")
        if len(self) >= self._max_watches:
            raise TooManyWatches("this server has as many watches as it takes")
        watch = Watch(position)
        of_partner = self._watches.setdefault(partner_id, set())
        of_partner.add(watch)
        try:
            yield watch
        finally:
            of_partner.remove(watch)
            if not of_partner:
                del self._watches[partner_id]

    def wake(self, partner_id: str) -> None:
        """Tell a partner's watches that this server may have committed events."""
        for watch in self._watches.get(partner_id, ()):
            watch.wake()

    async def look(self) -> None:
        """Wake the watches of all partners that have events which were not sent yet: other servers commit them."""
        if not self._watches:
            return
        partner_ids = list(self._watches)
        counts = await self._database.read(lambda connection: count_events(connection, partner_ids))
        for partner_id, count in counts.items():
            for watch in self._watches.get(partner_id, ()):
                if count > watch.position:
                    watch.wake()

    def stop(self) -> None:
        """End all watches, and take no new ones."""
        self._stopping = True
        for of_partner in self._watches.values():
            for watch in of_partner:
                watch.stop()
