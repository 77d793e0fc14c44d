"""Whether a process traces, and what that changes: nothing, unless it is configured."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, TypeAlias

import grpc

from mesh.call_record import Observer
from mesh.config import TracingConfig
from mesh.interceptors.wrapping import Interceptor

# As `mesh.database` wants it; a process without a database does not load that.
AroundUnit: TypeAlias = Callable[[str, Callable[..., Any]], AbstractContextManager[None]]


class Tracing:
    """What a service is wired with. This one does not trace: everything is what it is without, and costs as much."""

    def interceptors(self, *, trusting: bool) -> Sequence[Interceptor]:
        """Return what begins the spans of calls, to be put before a server's own interceptors.

        Args:
            trusting: Whether the caller's word counts on whether a call is recorded. A stranger's must not: the share
                alone counts then.

        """
        del trusting
        return ()

    def observers(self) -> Sequence[Observer]:
        """Return what ends the spans of calls."""
        return ()

    def channel(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        """Return what opens the same calls, each in a span; nothing else is to be asked of it."""
        return channel

    def around_units(self) -> AroundUnit | None:
        """Return what makes spans of the units of work of a `Database`."""
        return None


@asynccontextmanager
async def tracing(config: TracingConfig | None, service: str) -> AsyncIterator[Tracing]:
    """Trace as long as the context lasts, if that is configured; on leaving, send what is left.

    Args:
        config: Where traces go.
        service: The service, as the collector is to call it.

    Raises:
        ConfigError: If it can't be done as configured.

    """
    if config is None:
        yield Tracing()
        return
    from mesh.tracing.recording import recording  # noqa: PLC0415 - a process that does not trace does not load it

    async with recording(config, service) as recorded:
        yield recorded
