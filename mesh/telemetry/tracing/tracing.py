"""Whether a process traces, and what that changes: nothing, unless it is configured."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh.config import TracingConfig
from mesh.telemetry.tracing.untraced import Tracing


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
    from mesh.telemetry.tracing.recording import recording  # noqa: PLC0415 - a process that does not trace does not load it

    async with recording(config, service) as recorded:
        yield recorded
