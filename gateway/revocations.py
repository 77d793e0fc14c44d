"""Follows the auth server's feed of revocations, so that the exchange cache knows what holds."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

import grpc
import structlog

from gateway.exchange_cache import ExchangeCache, FeedWentBack
from mesh.access.revocation import Revocation
from mesh.access.revocation_messages import revocation_of
from mesh.background import forever
from sekisho.auth.v1 import revocation_service_pb2 as pb
from sekisho.auth.v1 import revocation_service_pb2_grpc

# The auth server sends something every 0.5 s.
SILENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 0.1

# Is told a position of the feed, and what was revoked up to it.
Hear: TypeAlias = Callable[[int, Sequence[Revocation]], None]

_log = structlog.get_logger()


class RevocationWatch:
    """Tells the cache what the feed says, and how it stands with the feed.

    Args:
        channel: To the auth server.
        cache: Is told what was revoked.
        clock: Seconds that never go back; the cache's.
        report: Is told whether the feed is heard, at first, and at each change.
        hear: Is told what the cache is told, after it.

    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        cache: ExchangeCache,
        clock: Callable[[], float],
        report: Callable[[bool], object],
        hear: Hear | None = None,
    ) -> None:
        self._stub = revocation_service_pb2_grpc.RevocationServiceStub(channel)
        self._cache = cache
        self._clock = clock
        self._report = report
        self._hear = hear
        self._heard = float("-inf")
        self._trouble = ""
        self._reported: bool | None = None

    @property
    def connected(self) -> bool:
        """Whether the feed was heard in the last two seconds."""
        return self.silent_seconds < SILENCE_SECONDS

    @property
    def silent_seconds(self) -> float:
        """How long ago the feed was heard last."""
        return self._clock() - self._heard

    async def run(self) -> None:
        """Follow the feed until cancelled."""
        await asyncio.gather(
            forever(self._follow, _PAUSE_SECONDS, asyncio.Event()),
            forever(self._look, self._until_change, asyncio.Event()),
        )

    async def _follow(self) -> None:
        """Watch, from the last position, until something goes wrong."""
        try:
            await self._watch()
        except grpc.aio.AioRpcError as error:
            self._trouble = f"{error.code().name}: {error.details()}"
        except TimeoutError:
            self._trouble = f"nothing came for {SILENCE_SECONDS} s"
        except FeedWentBack as error:
            self._trouble = f"the feed went back {error}"

    async def _watch(self) -> None:
        # Waits for the connection; else calls fail as long as the channel pauses between attempts to connect.
        call = self._stub.WatchRevocations(
            pb.WatchRevocationsRequest(position=self._cache.position), wait_for_ready=True
        )
        try:
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):  # a server may be there, and not tell
                    message = await call.read()
                if not isinstance(message, pb.WatchRevocationsResponse):
                    return
                revocations = [revocation_of(each) for each in message.revocations]
                self._cache.hear(message.position, revocations)
                if self._hear:
                    self._hear(message.position, revocations)
                self._heard = self._clock()
        finally:
            call.cancel()

    def _until_change(self) -> float:
        """Return for how many seconds nothing can change, whatever is heard; a short time while nothing is."""
        if not self.connected:
            return _LOOK_SECONDS
        return max(_LOOK_SECONDS, min(SILENCE_SECONDS - self.silent_seconds, self._cache.believed_seconds))

    async def _look(self) -> None:
        """Let the cache see how late it is, and report what changed."""
        self._cache.look()
        connected = self.connected
        if connected == self._reported:
            return
        if connected:
            _log.info("revocations are heard", position=self._cache.position)
        elif self._reported:
            _log.warning("revocations are not heard", position=self._cache.position, trouble=self._trouble)
        self._report(connected)
        self._reported = connected
