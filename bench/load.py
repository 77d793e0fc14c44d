"""Loads a server from this process, with bytes: what is measured is the server, not the messages' making."""

import asyncio
import gc
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import grpc

from bench.bare import STREAM_MESSAGES
from bench.fleet import Server
from bench.measure import Cost, Sample, cost_of

CONCURRENCY = 16

Metadata: TypeAlias = Sequence[tuple[str, str]]
HttpConnection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_TIMEOUT_SECONDS = 30.0


def calls(server: Server, method: str, requests: Sequence[bytes], count: int, *, metadata: Metadata = ()) -> Sample:
    """Return a sample of calls with the requests in turn, `CONCURRENCY` of them at a time."""
    multicallable: Any = server.channel.unary_unary(method)

    async def call(number: int) -> None:
        await multicallable(requests[number % len(requests)], metadata=metadata, timeout=_TIMEOUT_SECONDS)

    return _sample(server.pid, call, count)


async def latencies(
    server: Server, method: str, request: bytes, count: int, rate: float, *, metadata: Metadata = ()
) -> list[float]:
    """Return the seconds that each of some calls takes, which come at a steady rate, whatever becomes of those before.

    Args:
        server: The server.
        method: The method.
        request: What each call sends.
        count: How many calls.
        rate: How many in a second.
        metadata: What each call brings.

    """
    multicallable: Any = server.channel.unary_unary(method)
    taken: list[float] = []

    async def call(due: float) -> None:
        await multicallable(request, metadata=metadata, timeout=_TIMEOUT_SECONDS)
        taken.append(time.perf_counter() - due)

    with _without_pauses():
        begin = time.perf_counter() + 1 / rate
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                due = begin + number / rate
                await asyncio.sleep(due - time.perf_counter())
                group.create_task(call(due))
    return taken


@asynccontextmanager
async def http_connections(url: str, trust: ssl.SSLContext) -> AsyncIterator[Sequence[HttpConnection]]:
    """Yield `CONCURRENCY` connections to a server, by HTTPS."""
    address = urlsplit(url)
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(CONCURRENCY):
            reader, writer = await asyncio.open_connection(address.hostname, address.port, ssl=trust)
            stack.callback(writer.close)
            connections.append((reader, writer))
        yield connections


def http_requests(pid: int, connections: Sequence[HttpConnection], requests: Sequence[bytes], count: int) -> Sample:
    """Return a sample of HTTP/1.1 requests in turn, one on each connection at a time.

    A client library takes ten times the server's CPU time, and the server then sleeps and wakes for each request,
    which costs it three times as much: so bytes are sent here, as those of gRPC are.
    """
    idle = list(connections)

    async def ask(number: int) -> None:
        reader, writer = connection = idle.pop()
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = re.findall(rb"(?i)\r\ncontent-length: (\d+)", head)
        body = await reader.readexactly(int(length))
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"the server answered {(head + body)!r}")
        idle.append(connection)

    return _sample(pid, ask, count)


def _sample(pid: int, call: Callable[[int], Awaitable[None]], count: int) -> Sample:
    async def call_all() -> None:
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                await call(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(caller())

    async def sample(_number: int) -> Cost:
        with _without_pauses():
            return await cost_of(pid, count, call_all())

    return sample


@contextmanager
def _without_pauses() -> Iterator[None]:
    """Keep this process from looking for garbage: it would stand still for 0.1 s, and so would what it measures."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def messages(server: Server, method: str, request: bytes, streams: int, *, metadata: Metadata = ()) -> Sample:
    """Return a sample of the messages of streams, which are read one stream after the other."""
    multicallable: Any = server.channel.unary_stream(method)

    async def read_all() -> None:
        for _ in range(streams):
            call = multicallable(request, metadata=metadata, timeout=_TIMEOUT_SECONDS)
            for _ in range(STREAM_MESSAGES):
                if await call.read() is grpc.aio.EOF:
                    raise ValueError("a stream ended early")
            if await call.read() is not grpc.aio.EOF:
                raise ValueError("a stream did not end")

    async def sample(_number: int) -> Cost:
        with _without_pauses():
            return await cost_of(server.pid, streams * STREAM_MESSAGES, read_all())

    return sample
