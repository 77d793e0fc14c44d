"""What a gateway is behind is broken, in every way there is: those who have nothing to do with it notice nothing."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from gateway.server import running
from mesh.calls.error_info import read_error_info
from tests import raw_http2
from tests.tcp_server import tcp_server
from tests.unit.gateway.fake_services import FakeAuthServer, FakeBackend, issue_certificates, started
from tests.unit.gateway.front import (
    HASTY_SECONDS,
    PATIENCE_SECONDS,
    PUBLIC_METHOD,
    TOKEN,
    Front,
    Status,
    gateway_config,
    gateway_front,
    outcome,
)

OK, UNCHECKED = (Status.OK, ""), (Status.UNAVAILABLE, "AUTH_SERVER_UNAVAILABLE")
INVALID = (Status.UNAUTHENTICATED, "INVALID_TOKEN")
WATCH = "/sekisho.payments.v1.PaymentService/WatchPayments"
MESSAGE = raw_http2.grpc_message(b"hello")
HEADERS = raw_http2.response_headers(raw_http2.OK_HEADERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("faults"))


async def ending(call: Any) -> tuple[Status, str]:
    """Return how a call ends, well or not."""
    try:
        await asyncio.wait_for(call, PATIENCE_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code(), read_error_info(error)[0]
    return OK


# -- Backends


@asynccontextmanager
async def nobody(_folder: Path) -> AsyncIterator[int]:
    yield 1


@asynccontextmanager
async def mute(_folder: Path) -> AsyncIterator[int]:
    """Accept connections, and say nothing: no TLS either."""

    async def serve(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with tcp_server(serve) as port:
        yield port


@asynccontextmanager
async def hanging_up(_folder: Path) -> AsyncIterator[int]:
    """Break each connection as it comes."""

    async def serve(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    async with tcp_server(serve) as port:
        yield port


@asynccontextmanager
async def hanging(folder: Path) -> AsyncIterator[int]:
    """Take calls, and answer none."""
    async with raw_http2.recording(folder, "payments") as recorder:
        yield recorder.port


def answering(*frames: raw_http2.Frame) -> Callable[[Path], AbstractAsyncContextManager[int]]:
    return lambda folder: raw_http2.answering(folder, "payments", frames)


BROKEN: dict[str, Callable[[Path], AbstractAsyncContextManager[int]]] = {
    "down": nobody,
    "mute": mute,
    "hanging up": hanging_up,
    "hanging": hanging,
    "resets in mid-stream": answering(
        HEADERS,
        raw_http2.Frame(raw_http2.DATA, 0, MESSAGE),
        raw_http2.Frame(raw_http2.RST_STREAM, 0, (2).to_bytes(4)),
    ),
    "half a message": answering(HEADERS, raw_http2.Frame(raw_http2.DATA, raw_http2.END_STREAM, MESSAGE[:-1])),
    "garbage": answering(raw_http2.Frame(raw_http2.HEADERS, raw_http2.END_HEADERS, b"\xff" * 100)),
    "no grpc": answering(
        raw_http2.response_headers([(b":status", b"502"), (b"content-type", b"text/html")], last=True)
    ),
}


@pytest.mark.parametrize("health_checked", [True, False])
@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_backend_is_nobody_elses_trouble(folder: Path, how: str, *, health_checked: bool) -> None:
    auth, good = FakeAuthServer(folder), FakeBackend(folder)
    async with started(auth), started(good), BROKEN[how](folder) as port:
        config = gateway_config(auth, good, health_checked=health_checked)
        public, partners = config.backends
        channel = msgspec.structs.replace(partners.channel, target=f"127.0.0.1:{port}")
        backends = (public, msgspec.structs.replace(partners, channel=channel))
        async with running(msgspec.structs.replace(config, backends=backends)) as servers:
            front = Front(auth, good, servers, channel=None)  # type: ignore[arg-type]
            async with front.door(0) as front.channel:
                await assert_only_its_own_calls_fail(front)


async def assert_only_its_own_calls_fail(front: Front) -> None:
    async def unconcerned() -> None:
        assert await front.call(b"hello", method=PUBLIC_METHOD, token=None) == b"hello"

    await unconcerned()
    tasks = len(asyncio.all_tasks())
    bearer = [("authorization", f"Bearer {TOKEN}")]
    streams = [front.channel.unary_stream(WATCH)(b"", metadata=bearer, timeout=1) for _ in range(5)]
    calls = asyncio.gather(*(outcome(front.call(b"x", timeout=1)) for _ in range(10)))
    for _ in range(20):
        await unconcerned()
    assert not {Status.OK, Status.CANCELLED} & {code for code, _ in await calls}
    assert Status.OK not in [await stream.code() for stream in streams]
    await unconcerned()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(asyncio.all_tasks()) > tasks + 5:  # noqa: ASYNC110 - tasks end without an event
            await asyncio.sleep(0)


# -- The auth server


async def test_a_slow_auth_server_delays_only_whom_it_does_not_know_yet(folder: Path) -> None:
    async with gateway_front(folder, exchange_timeout_seconds=2.0) as front:
        await front.keeps_exchanges()
        front.auth.open.clear()
        new = asyncio.ensure_future(ending(front.call(b"new", token="sat_new")))
        assert await front.call(b"known") == b"known"
        assert not new.done()
        for _ in range(20):
            assert await front.call(b"known") == b"known"
        assert await new == UNCHECKED
        front.auth.open.set()
        assert await front.call(b"new", token="sat_new") == b"new"


async def test_an_auth_server_that_comes_and_goes_lets_nobody_through_unchecked(folder: Path) -> None:
    async with gateway_front(folder, exchange_timeout_seconds=HASTY_SECONDS) as front:
        await front.keeps_exchanges()
        ends, before, numbers = Counter[tuple[Status, str]](), len(front.backend.calls), itertools.count()

        async def three_call() -> tuple[Status, str]:
            assert await ending(front.call(b"known")) == OK  # the grace is long
            assert await ending(front.call(b"no", token="sat_NO")) in {INVALID, UNCHECKED}
            end = await ending(front.call(b"new", token=f"sat_new{next(numbers)}"))
            ends[end] += 1
            return end

        for _ in range(4):
            await front.auth.kill()
            assert set(await asyncio.gather(*(three_call() for _ in range(5)))) == {UNCHECKED}
            await front.auth.start()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await three_call() != OK:
                    pass
        assert set(ends) == {OK, UNCHECKED}
        assert len(front.backend.calls) - before == next(numbers) + ends[OK]
