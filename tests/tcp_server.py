"""TCP servers that tests write by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp_server(serve: Serve) -> AsyncIterator[int]:
    """Take connections, and yield the port; each connection is closed once it is served, or the server ends."""
    tasks = set[asyncio.Task[None] | None]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.current_task())
        try:
            with suppress(asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.transport.abort()  # of what the writer has by now: it may have begun TLS
            tasks.discard(task)

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await asyncio.sleep(0)  # a connection that has just come is in the set then
            left = [task for task in tasks if task]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
