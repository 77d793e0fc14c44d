"""`sekisho.auth.v1.RevocationService`."""

import asyncio
from contextlib import suppress

from authserver.errors import ReplicaBehind
from authserver.revocation.feed import Feed
from authserver.revocation.store import Stretch, read_after
from mesh.access.revocation import Revocation, Subject
from mesh.access.revocation_messages import revocation_message
from mesh.calls.wrapping import Context
from mesh.errors import ServerStopping
from mesh.storage.database import Database
from sekisho.auth.v1 import revocation_service_pb2 as pb
from sekisho.auth.v1 import revocation_service_pb2_grpc

_HEARTBEAT_SECONDS = 0.5


class RevocationServiceServicer(revocation_service_pb2_grpc.RevocationServiceServicer):
    """Tells gateways what is revoked.

    Args:
        database: Where the feed is.
        feed: This server's place in it. While it can't follow, gateways get no heartbeat.

    """

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed

    async def WatchRevocations(  # type: ignore[override]  # a coroutine that writes; grpc.aio takes both
        self, request: pb.WatchRevocationsRequest, context: Context
    ) -> None:
        """Send what comes after the position, and a heartbeat while there is nothing."""
        await self._feed.follow()
        if not self._feed.is_current():
            raise ReplicaBehind("this server does not know what was revoked; watch at another one")
        position = request.position if request.HasField("position") else self._feed.position
        while not self._feed.stopped:
            news = self._feed.next_news  # before reading, so that what comes meanwhile is not waited for
            stretch = await self._after(position)
            if stretch.reached != position or self._feed.is_current():
                await context.write(_response(stretch))
                position = stretch.reached
            if stretch.last:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HEARTBEAT_SECONDS):
                        await news.wait()
        raise ServerStopping("the server stops; watch on at another one")

    async def _after(self, position: int) -> Stretch:
        if position == self._feed.position:
            return Stretch([], position, last=True)
        return await self._database.read(lambda connection: read_after(connection, position))


def _response(stretch: Stretch) -> pb.WatchRevocationsResponse:
    revocations = [
        revocation_message(Revocation(entry.position, entry.news.what, entry.news.name))
        for entry in stretch.entries
        if isinstance(entry.news.what, Subject)
    ]
    return pb.WatchRevocationsResponse(position=stretch.reached, revocations=revocations)
