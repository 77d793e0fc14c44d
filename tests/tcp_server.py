"""TCP servers that tests write by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def tcp_server(serve: Serve) -> AsyncIterator[int]:
    """Take connections, and yield the port; each connection is closed once it is served, or the server ends.

    Peers may not be relied on to close them: what a channel of grpc.aio has open stays so until it is collected, and it
    connects anew until then.
    """
    served = dict[asyncio.Task[None], asyncio.StreamReader]()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a task, which is known before it runs, for one may be cancelled before that."""
        task = asyncio.create_task(serve(reader, writer))
        task.add_done_callback(lambda _: writer.transport.abort())  # what it has by now: it may have begun TLS
        served[task] = reader
        if not server.is_serving():
            task.cancel()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            while coming := [task for task in asyncio.all_tasks() if _is_accepting(task)]:
                await asyncio.wait(coming)  # a connection that comes last is known only after this
            for task in served:
                task.cancel()
            await asyncio.gather(*served, return_exceptions=True)
    for task in served:
        if not task.cancelled():
            task.result()  # a mistake of the test's own


def _is_accepting(task: asyncio.Task[Any]) -> bool:
    """Say whether a task is asyncio's own, which makes a transport of a connection that has come."""
    return getattr(task.get_coro(), "__name__", "") == "_accept_connection2"
