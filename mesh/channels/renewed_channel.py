"""A channel that keeps up with its certificate, without a restart and without the loss of a call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import structlog

from mesh.background import forever, working
from mesh.channels.adapter import ChannelAdapter, Opener
from mesh.config import ChannelConfig, ConfigError
from mesh.file_changes import FileChanges

_LOOK_SECONDS = 5.0
# A call lasts no longer than its access token; that is good for ten minutes.
_DRAIN_SECONDS = 15 * 60.0

_log = structlog.get_logger()


@asynccontextmanager
async def renewed_channel(
    config: ChannelConfig, opens: Callable[[], grpc.aio.Channel]
) -> AsyncIterator[grpc.aio.Channel]:
    """Keep a channel open as long as the context lasts, and open it anew when one of its files has changed.

    New calls then go by the new channel. Calls under way stay on the old one, for fifteen minutes at most.
    New files that are not good change nothing.

    Args:
        config: Where the files are.
        opens: Opens the channel; it reads the files anew.

    Raises:
        ConfigError: If the files are not good at first.

    """
    channel = _RenewedChannel(config, opens)
    try:
        async with working(forever(channel.look, _LOOK_SECONDS, asyncio.Event())):
            yield channel
    finally:
        await channel.close()


class _RenewedChannel(ChannelAdapter):
    def __init__(self, config: ChannelConfig, opens: Callable[[], grpc.aio.Channel]) -> None:
        super().__init__(opens())
        self._target = config.target
        self._changes = FileChanges([config.ca, config.certificate, config.private_key])
        self._opens = opens
        self._draining: list[tuple[float, grpc.aio.Channel]] = []  # until when

    def opener(self, kind: str, method: str, *arguments: object, **settings: object) -> Opener:
        """Return what opens calls by the channel that there is then."""
        channel, opener = self._inner, super().opener(kind, method, *arguments, **settings)

        def opens(*call_arguments: object, **call_settings: object) -> object:
            nonlocal channel, opener
            if channel is not self._inner:
                channel = self._inner
                opener = super(_RenewedChannel, self).opener(kind, method, *arguments, **settings)
            return opener(*call_arguments, **call_settings)

        return opens

    async def look(self) -> None:
        """Open the channel anew if a file has changed, and close those that have drained."""
        now = asyncio.get_running_loop().time()
        while self._draining and self._draining[0][0] <= now:
            await self._draining.pop(0)[1].close()
        if not self._changes.any():
            return
        try:
            channel = self._opens()
        except ConfigError as error:
            _log.error("the new certificate is not good, so the old one stays", to=self._target, error=str(error))
            return
        self._draining.append((now + _DRAIN_SECONDS, self._inner))
        self._inner = channel
        _log.info("the certificate was renewed", to=self._target)

    async def close(self, grace: float | None = None) -> None:
        """Close all."""
        for channel in (self._inner, *(channel for _, channel in self._draining)):
            await channel.close(grace)
