"""Loads a server from this process, with bytes: what is measured is the server, not the messages' making."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc

from bench.bare import STREAM_MESSAGES
from bench.fleet import Server
from bench.measure import Cost, Sample, cost_of

CONCURRENCY = 16

Metadata: TypeAlias = Sequence[tuple[str, str]]

_TIMEOUT_SECONDS = 30.0


def calls(server: Server, method: str, requests: Sequence[bytes], count: int, *, metadata: Metadata = ()) -> Sample:
    """Return a sample of calls with the requests in turn, `CONCURRENCY` of them at a time."""
    multicallable: Any = server.channel.unary_unary(method)

    async def call_all() -> None:
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                await multicallable(requests[number % len(requests)], metadata=metadata, timeout=_TIMEOUT_SECONDS)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(caller())

    async def sample(_number: int) -> Cost:
        return await cost_of(server.pid, count, call_all())

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
