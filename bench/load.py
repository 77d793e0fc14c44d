"""Loads a server from this process, with bytes: what is measured is the server, not the messages' making."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
import httpx

from bench.bare import STREAM_MESSAGES
from bench.fleet import Server
from bench.measure import Cost, Sample, cost_of

CONCURRENCY = 16

Metadata: TypeAlias = Sequence[tuple[str, str]]

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
    begin = time.perf_counter() + 1 / rate

    async def call(number: int) -> float:
        due = begin + number / rate
        await asyncio.sleep(due - time.perf_counter())
        await multicallable(request, metadata=metadata, timeout=_TIMEOUT_SECONDS)
        return time.perf_counter() - due

    return await asyncio.gather(*map(call, range(count)))


def posts(
    pid: int, client: httpx.AsyncClient, path: str, form: dict[str, str], as_: Sequence[tuple[str, str]], count: int
) -> Sample:
    """Return a sample of a form posted by HTTP/1.1, as each of the clients in turn, `CONCURRENCY` at a time."""

    async def post(number: int) -> None:
        answer = await client.post(path, data=form, auth=as_[number % len(as_)])
        answer.raise_for_status()

    return _sample(pid, post, count)


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
        return await cost_of(pid, count, call_all())

    return sample


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
        return await cost_of(server.pid, streams * STREAM_MESSAGES, read_all())

    return sample
