"""Work that goes on beside calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager

import structlog

_log = structlog.get_logger()


@asynccontextmanager
async def working(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do work that has no end beside what happens in the context; cancel it on leaving."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def forever(
    work: Callable[[], Awaitable[None]], pause_seconds: float | Callable[[], float], wake: asyncio.Event
) -> None:
    """Do a piece of work again and again, after a pause or as soon as it is woken. What it raises is logged."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - a worker must outlive any one piece of its work
            _log.exception("a worker failed, and goes on")
        try:
            async with asyncio.timeout(pause_seconds() if callable(pause_seconds) else pause_seconds):
                await wake.wait()
        except TimeoutError:
            continue
        finally:
            wake.clear()
