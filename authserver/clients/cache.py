"""The clients that this server has in memory, so that a token of a known client costs no statement."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from authserver.clients.store.clients import Client, find_client
from authserver.revocation.feed import Feed
from authserver.revocation.store import Change, FeedEntry, feed_position
from mesh.access.revocation import Subject
from mesh.storage.database import Database

_CLIENT_KINDS = frozenset({Subject.CLIENT, Change.CLIENT_CHANGED})
_GROUP_KINDS = frozenset({Subject.PARTNER, Change.PARTNER_CHANGED, Subject.PLATFORM, Change.PLATFORM_CHANGED})


@dataclass(frozen=True, slots=True)
class Found:
    """A client as it is at a position of the feed; None if there is none.

    Attributes:
        client: The client.
        position: The position.
        from_memory: Whether the database was not asked.

    """

    client: Client | None
    position: int
    from_memory: bool


class ClientCache:
    """Finds clients, in memory if the feed says that they did not change; the least recently used go first.

    Args:
        database: Where the clients are.
        feed: Tells what changed.
        capacity: The most clients kept, about 1 KiB each.

    """

    def __init__(self, database: Database, feed: Feed, capacity: int) -> None:
        self._database = database
        self._feed = feed
        self._capacity = capacity
        self._clients: OrderedDict[str, Client] = OrderedDict()
        feed.listen(self._forget)

    async def find(self, client_id: str) -> Found:
        """Return a client, from memory if it is there.

        Raises:
            DatabaseUnavailable: If the database is needed, and can't be reached.

        """
        known = self._clients.get(client_id)
        if known is not None and self._feed.is_current():
            self._clients.move_to_end(client_id)
            return Found(known, self._feed.position, from_memory=True)
        return await self.find_in_database(client_id)

    async def find_in_database(self, client_id: str) -> Found:
        """Return a client as the database has it now.

        Raises:
            DatabaseUnavailable: If the database can't be reached.

        """
        # One state of the database for both: the position is the client's.
        found = await self._database.read(
            lambda connection: Found(find_client(connection, client_id), feed_position(connection), from_memory=False)
        )
        if found.client is not None and found.position >= self._feed.position:  # else it may have changed since
            self._clients[client_id] = found.client
            self._clients.move_to_end(client_id)
            if len(self._clients) > self._capacity:
                self._clients.popitem(last=False)
        return found

    def _forget(self, entries: Sequence[FeedEntry]) -> None:
        news = [entry.news for entry in entries]
        if any(each.what == Subject.EVERYTHING for each in news):
            self._clients.clear()
            return
        self._drop(each.name for each in news if each.what in _CLIENT_KINDS)
        if groups := {each.name for each in news if each.what in _GROUP_KINDS}:
            self._drop(
                [id_ for id_, client in self._clients.items() if {client.partner_id, client.platform_id} & groups]
            )

    def _drop(self, client_ids: Iterable[str]) -> None:
        for client_id in client_ids:
            self._clients.pop(client_id, None)
