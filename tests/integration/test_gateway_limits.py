"""The gateway's limits, at its door: what is beyond them is refused with a reason, and costs nothing further in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status as RichStatus

from mesh.access.rules import ClientType
from mesh.calls.error_info import DETAILS_KEY, read_error_info
from policy.sources.gateway_config import LimitsConfig, RateConfig
from tests import raw_http2
from tests.unit.gateway.fake_services import issue_certificates
from tests.unit.gateway.front import (
    PARTNER_METHOD,
    PATIENCE_SECONDS,
    PUBLIC_METHOD,
    Front,
    Status,
    failure,
    gateway_front,
    listener,
)
from tests.unit.gateway.stream_front import BOTH, DOWN, StreamFront, stream_front

HEALTH = "/grpc.health.v1.Health"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
BEARER = (b"authorization", b"Bearer sat_partner")
A_MINUTE = RateConfig(per_second=1 / 60, burst=2)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("limits"))


def refused_by(error: grpc.aio.AioRpcError) -> tuple[Status, str, str]:
    """Return status, reason and limit of a refusal."""
    reason, metadata = read_error_info(error)
    return error.code(), reason, metadata.get("limit", "")


def retry_seconds(error: grpc.aio.AioRpcError) -> float:
    rich = RichStatus.FromString(bytes(dict(error.trailing_metadata() or ())[DETAILS_KEY]))
    retry = RetryInfo()
    assert any(detail.Unpack(retry) for detail in rich.details)
    return retry.retry_delay.ToMilliseconds() / 1000


async def hold(front: Front, calls: list[asyncio.Task[Any]], method: str, *headers: tuple[bytes, bytes]) -> None:
    """Begin ten calls more, each on a connection of its own, that send no message."""
    calls.extend(asyncio.create_task(front.post(headers, method=method)) for _ in range(10))


@asynccontextmanager
async def ended(calls: list[asyncio.Task[Any]]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def full(front: Front, method: str, more: Callable[[], Awaitable[Any]]) -> None:
    """Begin more calls until a method has no room: the call that asks whether it has takes the place of one itself."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await is_full(front, method):
            await more()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            pass


RATES = {
    "address": LimitsConfig(address=A_MINUTE),
    "client": LimitsConfig(client=A_MINUTE),
    "method": LimitsConfig(methods={PARTNER_METHOD: {ClientType.PARTNER: A_MINUTE}}),
}


@pytest.mark.parametrize("limit", RATES)
async def test_who_calls_too_often_is_told_when_to_call_again(folder: Path, limit: str) -> None:
    async with gateway_front(folder, limits=RATES[limit]) as front:
        for _ in range(2):
            await front.call()
        error = await failure(front.call())
        assert refused_by(error) == (Status.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED", limit)
        assert 50 < retry_seconds(error) <= 60
        assert len(front.backend.calls) == 2


async def test_who_is_over_the_rate_of_an_address_costs_no_exchange_whatever_the_token(folder: Path) -> None:
    async with gateway_front(folder, limits=RATES["address"]) as front:
        for number in range(20):
            await asyncio.gather(front.call(token=f"sat_{number}"), return_exceptions=True)
        assert len(front.auth.requests) == 2
        assert refused_by(await failure(front.call(token=None)))[2] == "address"
        assert refused_by(await failure(front.call(method=PUBLIC_METHOD, token=None)))[2] == "address"
        assert refused_by(await failure(front.call(method=f"{HEALTH}/Check", token=None)))[2] == "address"
        assert (await failure(front.call(method="/no.Such/Method"))).code() == Status.UNIMPLEMENTED


async def test_a_client_over_its_rate_takes_nothing_from_another_at_the_same_address(folder: Path) -> None:
    async with gateway_front(folder, limits=RATES["client"]) as front:
        for _ in range(2):
            await front.call(token="sat_a")
        assert refused_by(await failure(front.call(token="sat_a")))[2] == "client"
        await front.call(token="sat_b")


@pytest.mark.parametrize("method", [DOWN, BOTH])
async def test_a_client_has_so_many_streams_at_once_and_room_again_when_one_ends(folder: Path, method: Any) -> None:
    async def handle(context: Any) -> None:
        await context.write(b"begun")
        await asyncio.Event().wait()

    async with stream_front(folder, limits_config=LimitsConfig(max_client_streams=2)) as front:
        front.backend.handle = handle
        calls = [front.call(method) for _ in range(2)]
        for call in calls:
            assert await call.read() == b"begun"
        error = await failure(front.call(method).read())
        assert refused_by(error) == (Status.RESOURCE_EXHAUSTED, "CONCURRENCY_LIMIT_EXCEEDED", "client")
        calls[0].cancel()
        await until(lambda: begins(front, method))
        calls[1].cancel()


async def begins(front: StreamFront, method: Any) -> bool:
    try:
        return await front.call(method).read() == b"begun"
    except grpc.aio.AioRpcError:
        return False


async def test_a_client_has_so_many_calls_at_once(folder: Path) -> None:
    reached, answer = asyncio.Semaphore(0), asyncio.Event()

    async def wait(request: bytes, _context: Any) -> bytes:
        reached.release()
        await answer.wait()
        return request

    async with gateway_front(folder, limits=LimitsConfig(max_client_calls=2)) as front:
        front.backend.answer = wait
        calls = [asyncio.ensure_future(front.call()) for _ in range(2)]
        for _ in calls:
            await reached.acquire()
        error = await failure(front.call())
        assert refused_by(error) == (Status.RESOURCE_EXHAUSTED, "CONCURRENCY_LIMIT_EXCEEDED", "client")
        other = asyncio.ensure_future(front.call(token="sat_other"))
        await reached.acquire()
        answer.set()
        await asyncio.gather(*calls, other)
        await front.call()


@pytest.mark.parametrize(
    ("method", "headers"),
    [(f"{HEALTH}/Watch", ()), (f"{HEALTH}/Check", ()), (PUBLIC_METHOD, ()), (PARTNER_METHOD, (BEARER,))],
)
async def test_calls_that_stall_at_one_address_leave_room_for_every_other_kind(
    folder: Path, method: str, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    """Of one kind there may be 4 in all here, and 2 of a client, by a door that takes 16."""

    limits = LimitsConfig(max_client_calls=2, max_address_calls=100)
    doors = (listener(folder, max_concurrent_calls=16),)
    async with gateway_front(folder, listeners=doors, limits=limits) as front:
        await front.call(token="sat_good")
        calls = list[asyncio.Task[Any]]()
        async with ended(calls):
            await full(front, method, lambda: hold(front, calls, method, *headers))
            await front.call(token="sat_good")
            if method != PUBLIC_METHOD:
                await front.call(method=PUBLIC_METHOD, token=None)
            if not method.startswith(HEALTH):
                await front.call(method=f"{HEALTH}/Check", token=None)
            await front.call(token="sat_new")
        await until(lambda: answers(front, method))


async def is_full(front: Front, method: str) -> bool:
    method = method.replace("/Watch", "/Check")  # which is of the same kind, and has an end
    try:
        await front.call(method=method, token=raw_token(method))
    except grpc.aio.AioRpcError as error:
        return refused_by(error)[1] == "CONCURRENCY_LIMIT_EXCEEDED"
    return False


async def answers(front: Front, method: str) -> bool:
    return not await is_full(front, method)


def raw_token(method: str) -> str | None:
    return "sat_partner" if method == PARTNER_METHOD else None


async def test_calls_whose_token_is_being_checked_are_so_many_of_one_address(folder: Path) -> None:
    async with gateway_front(folder, limits=LimitsConfig(max_address_calls=2)) as front:
        await until(lambda: is_kept(front, "sat_known"))
        front.auth.requests.clear()
        front.auth.open.clear()
        calls = [asyncio.ensure_future(front.call(token=f"sat_{number}")) for number in range(2)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(front.auth.requests) < 2:
                front.auth.asked.clear()
                await front.auth.asked.wait()
        error = await failure(front.call(token="sat_more"))
        assert refused_by(error) == (Status.RESOURCE_EXHAUSTED, "CONCURRENCY_LIMIT_EXCEEDED", "address")
        await front.call(token="sat_known")
        await front.call(method=PUBLIC_METHOD, token=None)
        front.auth.open.set()
        await asyncio.gather(*calls)


async def is_kept(front: Front, token: str) -> bool:
    """Say whether the gateway knows a token without asking: it does so as soon as it hears what is revoked."""
    before = len(front.auth.requests)
    await front.call(token=token)
    return len(front.auth.requests) == before


async def test_a_call_counts_until_its_answer_has_gone_out(folder: Path) -> None:
    doors = (listener(folder, max_concurrent_calls=8),)
    async with gateway_front(folder, listeners=doors) as front:
        ca, port = folder / "public.pem", front.servers[0].port
        never_reading = partial(
            raw_http2.never_reading, port, ca, PUBLIC_METHOD, raw_http2.grpc_message(b"x"), calls=10
        )
        async with AsyncExitStack() as stack:
            await full(front, PUBLIC_METHOD, lambda: stack.enter_async_context(never_reading()))
            for _ in range(20):  # it stays so, long after the backend has answered
                await front.call()
                assert await is_full(front, PUBLIC_METHOD)
        await until(lambda: answers(front, PUBLIC_METHOD))


async def test_a_health_watch_that_is_not_read_keeps_neither_others_nor_the_stop_waiting(folder: Path) -> None:
    # Of a kind there may be 2 here, so it is known when the other watch has come, too.
    watched, doors = f"{HEALTH}/Watch", (listener(folder, max_concurrent_calls=8, drain_seconds=0.1),)
    async with gateway_front(folder, listeners=doors) as front:
        watch = front.channel.unary_stream(watched)(b"", timeout=PATIENCE_SECONDS)
        assert await watch.read() == SERVING
        ca, port = folder / "public.pem", front.servers[0].port
        never_reading = partial(raw_http2.never_reading, port, ca, watched, raw_http2.grpc_message(b""), calls=1)
        async with AsyncExitStack() as stack:
            await full(front, watched, lambda: stack.enter_async_context(never_reading()))
            stopping = asyncio.create_task(front.servers[0].stop())
            assert await watch.read() == NOT_SERVING
            await asyncio.wait_for(stopping, PATIENCE_SECONDS)


async def test_connections_are_so_many_also_those_that_never_get_through_tls(folder: Path) -> None:
    doors = (listener(folder, listen="127.0.0.1:0", max_connections=8),)
    async with gateway_front(folder, listeners=doors) as front:
        await front.call()
        writers = []
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", front.servers[0].port)
            writers.append(writer)
        async with front.door(0) as more:
            assert (await failure(front.call(channel=more))).code() == Status.UNAVAILABLE
            await front.call()
            for writer in writers:
                writer.transport.abort()
            await until(lambda: passes(front, more))


async def passes(front: Front, channel: grpc.aio.Channel) -> bool:
    try:
        await front.call(channel=channel, timeout=2)
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_a_token_over_the_limit_costs_no_exchange(folder: Path) -> None:
    async with gateway_front(folder) as front:
        await front.call(token=f"sat_{'a' * 1020}")
        error = await failure(front.call(token=f"sat_{'a' * 1021}"))
        assert (error.code(), read_error_info(error)[0]) == (Status.UNAUTHENTICATED, "INVALID_TOKEN")
        assert len(front.auth.requests) == 1
