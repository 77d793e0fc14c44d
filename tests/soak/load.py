"""Good clients, many of them: calls and streams, with a thousand tokens in turn."""

import asyncio
import itertools
from dataclasses import dataclass, field

import grpc

from tests.soak.target import PATIENCE_SECONDS, WATCH_METHOD
from tests.unit.gateway.front import PARTNER_METHOD

_TOKENS = 1000
_SIZES = (0, 200, 64 * 1024, 1024 * 1024)


@dataclass
class Load:
    """Makes calls and streams, one after the other.

    Attributes:
        done: How many ended as they should.
        failed: How the others ended.

    """

    channel: grpc.aio.Channel
    done: int = 0
    failed: list[str] = field(default_factory=list)

    async def run(self, first: int) -> None:
        """Go on until cancelled, with tokens from the first on."""
        for number in itertools.count(first):
            metadata = (("authorization", f"Bearer sat_{number % _TOKENS}"),)
            try:
                await self._call(_SIZES[number % len(_SIZES)], metadata)
                await self._watch(number % 7, metadata)
            except grpc.aio.AioRpcError as error:
                self.failed.append(f"{error.code()} {error.details()}")
            self.done += 1

    async def _call(self, size: int, metadata: tuple[tuple[str, str], ...]) -> None:
        message = bytes(size)
        call = self.channel.unary_unary(PARTNER_METHOD)
        if await call(message, metadata=metadata, timeout=PATIENCE_SECONDS) != message:
            self.failed.append("another message came back")

    async def _watch(self, messages: int, metadata: tuple[tuple[str, str], ...]) -> None:
        """Read some messages of a stream that has no end, and leave it."""
        call = self.channel.unary_stream(WATCH_METHOD)(b"", metadata=metadata, timeout=PATIENCE_SECONDS)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for _ in range(messages):
                    await call.read()
        finally:
            call.cancel()
