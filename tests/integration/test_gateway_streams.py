"""Streams of all kinds through the gateway, between callers and backends that do their worst, over real TLS."""

import asyncio
import gc
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status as RichStatus

from mesh.access.descriptors import Method
from mesh.calls.error_info import DETAILS_KEY, read_error_info
from tests import raw_http2
from tests.logs import captured
from tests.unit.gateway.fake_services import changed, issue_certificates, private_token
from tests.unit.gateway.front import PATIENCE_SECONDS, TOKEN, Status
from tests.unit.gateway.stream_front import BOTH, DOWN, OPEN, STREAMS, UNARY, UP, StreamFront, stream_front

KIB, MIB = 1024, 1024 * 1024
MESSAGE = raw_http2.grpc_message(b"hello")
BODIES = (b"", b"\x00", b"this is no protobuf \x07", b"", bytes(range(256)), os.urandom(3 * MIB), b"last")
INITIAL = (("x-one", "1"), ("x-one", "2"), ("x-raw-bin", bytes(range(256))), ("x-raw-bin", b""))
TRAILING = (("x-two", "b"), ("x-two", "a"), ("x-end-bin", b"\xff\x00"), ("x-end-bin", b""))
# What two hops buffer for one stream, at most: windows of HTTP/2, sockets, TLS. They grow with the time that a round
# trip takes, so a busy machine has more of them.
BUFFERS = 64 * MIB

by_path = pytest.mark.parametrize("method", STREAMS, ids=lambda method: method.path)
sending = pytest.mark.parametrize("method", [UP, BOTH], ids=lambda method: method.path)
receiving = pytest.mark.parametrize("method", [DOWN, BOTH], ids=lambda method: method.path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("streams"))


@asynccontextmanager
async def front_of(folder: Path, **settings: Any) -> AsyncIterator[StreamFront]:
    """Run a gateway, and stand at its door; what was started there must be over soon after the test."""
    async with stream_front(folder, **settings) as front:
        await read_all(front.call(OPEN, iter(())))  # the connections are there
        front.backend.begun.clear()
        before = calls_under_way()
        yield front
        await over(before, front)


@pytest.fixture
async def front(folder: Path) -> AsyncIterator[StreamFront]:
    async with front_of(folder) as front:
        yield front


def calls_under_way() -> set[asyncio.Task[Any]]:
    """Return all tasks, but for those in which servers wait for the next call, and the test's own two."""
    waiting = ("AioServer._request_call", "AioServer._request_registered_call", "TestRunner._call_in_runner_task")
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in tasks if getattr(task.get_coro(), "__qualname__", "") not in waiting}


async def over(before: set[asyncio.Task[Any]], front: StreamFront) -> None:
    """Wait until no task is left but those that were there before, and no call is open at the backend."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while left := calls_under_way() - before:
            await asyncio.wait(left)
    assert front.backend.open_calls == 0


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), PATIENCE_SECONDS)


async def forever(_context: Any = None) -> None:
    await asyncio.Event().wait()


async def read_all(call: Any) -> list[bytes]:
    """Return all answers of a call of any kind."""
    if isinstance(call, grpc.aio.UnaryUnaryCall | grpc.aio.StreamUnaryCall):
        return [await call]
    return [message async for message in call]


async def end_of(call: Any) -> tuple[Status, str]:
    """Wait until a call ends; return its status and reason."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await read_all(call)
    except grpc.aio.AioRpcError as error:
        return error.code(), read_error_info(error)[0]
    return Status.OK, ""


async def received_by(context: Any) -> list[bytes]:
    """Return all that the caller sends until it half-closes."""
    messages = list[bytes]()
    while (message := await context.read()) is not grpc.aio.EOF:
        messages.append(message)
    return messages


async def send_until_refused(call: Any, message: bytes) -> None:
    """Send without an end, until the call has one.

    By grpc.aio's inside, because `write` may replace the status that came by one of its own.
    """
    await call.wait_for_connection()
    with suppress(grpc.aio.InternalError):
        while True:
            await call._cython_call.send_serialized_message(message)  # noqa: SLF001 - see above


class Meter:
    """Sees bytes go by one write after the other, and that one of them does not return."""

    def __init__(self) -> None:
        self.written = 0
        self.stalled = asyncio.Event()

    async def write(self, write: Callable[[bytes], Awaitable[None]], message: bytes) -> None:
        task = asyncio.ensure_future(write(message))
        try:
            if not (await asyncio.wait([task], timeout=1.0))[0]:
                self.stalled.set()
            await task
        finally:
            task.cancel()
        self.written += len(message)


# -- Bytes, both ways at once


async def test_messages_to_the_caller_pass_byte_for_byte(front: StreamFront) -> None:
    async def handle(context: Any) -> None:
        assert await received_by(context) == [b"request"]
        for body in BODIES:
            await context.write(body)

    front.backend.handle = handle
    assert tuple(await read_all(front.call(DOWN, b"request"))) == BODIES


async def test_messages_to_the_backend_pass_byte_for_byte(front: StreamFront) -> None:
    received = list[bytes]()

    async def handle(context: Any) -> None:
        received.extend(await received_by(context))
        await context.write(b"answer")

    front.backend.handle = handle
    assert await front.call(UP, iter(BODIES)) == b"answer"
    assert tuple(received) == BODIES


async def test_messages_both_ways_pass_byte_for_byte(front: StreamFront) -> None:
    assert tuple(await read_all(front.call(BOTH, iter(BODIES)))) == BODIES


async def test_no_messages_at_all_are_a_stream_too(front: StreamFront) -> None:
    assert await read_all(front.call(BOTH, iter(()))) == []
    assert await read_all(front.call(OPEN, iter(()))) == []


async def test_a_thousand_messages_go_back_and_forth_before_the_caller_half_closes(front: StreamFront) -> None:
    call = front.call(BOTH)
    for number in range(1_000):
        await call.write(str(number).encode())
        assert await call.read() == str(number).encode()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() == Status.OK


async def test_a_half_close_reaches_the_backend_which_may_still_answer(front: StreamFront) -> None:
    async def handle(context: Any) -> None:
        messages = await received_by(context)
        for message in reversed(messages):
            await context.write(message)

    front.backend.handle = handle
    assert await read_all(front.call(BOTH, iter([b"1", b"2", b"3"]))) == [b"3", b"2", b"1"]


@sending
async def test_a_backend_may_answer_before_the_caller_is_done(front: StreamFront, method: Method) -> None:
    async def handle(context: Any) -> None:
        await context.read()
        await context.write(b"enough")

    front.backend.handle = handle
    for _ in range(20):
        call = front.call(method)
        sender = asyncio.create_task(send_until_refused(call, bytes(10 * KIB)))
        assert await read_all(call) == [b"enough"]
        await sender


@by_path
async def test_a_stream_carries_the_private_token_and_its_request_id(front: StreamFront, method: Method) -> None:
    await end_of(front.call(method, iter([b""]), [("x-request-id", "one-id"), ("x-one", "1"), ("x-one", "2")]))
    (metadata,) = front.backend.calls[1:]
    assert [value for key, value in metadata if key == "authorization"] == [
        f"Bearer {private_token(TOKEN, 'payments')}"
    ]
    assert [value for key, value in metadata if key == "x-request-id"] == ["one-id"]
    assert [value for key, value in metadata if key == "x-forwarded-for"] in (["127.0.0.1"], ["::1"])
    assert [value for key, value in metadata if key == "x-one"] == ["1", "2"]


# -- Backpressure


@receiving
async def test_a_caller_that_does_not_read_stops_the_backends_writes(front: StreamFront, method: Method) -> None:
    meter = Meter()

    async def handle(context: Any) -> None:
        for number in range(1_000):
            await meter.write(context.write, number.to_bytes(2) + bytes(256 * KIB))

    front.backend.handle = handle
    memory = peak_memory()
    call = front.call(method, timeout=60.0)
    await soon(meter.stalled)
    assert meter.written < BUFFERS
    assert peak_memory() - memory < 3 * BUFFERS
    numbers = [int.from_bytes(message[:2]) async for message in call]
    assert numbers == list(range(1_000))


@sending
async def test_a_backend_that_does_not_read_stops_the_callers_writes(front: StreamFront, method: Method) -> None:
    meter, go_on, numbers = Meter(), asyncio.Event(), list[int]()

    async def handle(context: Any) -> None:
        await go_on.wait()
        numbers.extend(int.from_bytes(message[:2]) for message in await received_by(context))
        await context.write(b"done")

    async def send(call: Any) -> None:
        for number in range(500):
            await meter.write(call.write, number.to_bytes(2) + bytes(256 * KIB))
        await call.done_writing()

    front.backend.handle = handle
    memory = peak_memory()
    call = front.call(method, timeout=60.0)
    sender = asyncio.create_task(send(call))
    await soon(meter.stalled)
    assert meter.written < BUFFERS
    assert peak_memory() - memory < 3 * BUFFERS
    go_on.set()
    assert await read_all(call) == [b"done"]
    await sender
    assert numbers == list(range(500))


def peak_memory() -> int:
    """Return the most bytes of memory that this process, and so the gateway, ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


# -- Metadata and errors


@by_path
@pytest.mark.parametrize("code", [Status.OK, Status.FAILED_PRECONDITION, Status.CANCELLED, Status.INTERNAL])
async def test_metadata_and_status_pass(front: StreamFront, method: Method, code: Status) -> None:
    async def handle(context: Any) -> None:
        await context.send_initial_metadata(INITIAL)
        await context.write(b"answer")
        if code is not Status.OK:
            await context.abort(code, "残高: 100 % ü", TRAILING)
        context.set_trailing_metadata(TRAILING)

    front.backend.handle = handle
    call = front.call(method)
    assert (await end_of(call))[0] == code
    assert tuple(await call.initial_metadata()) == INITIAL
    assert tuple(await call.trailing_metadata()) == TRAILING
    assert await call.details() == ("" if code is Status.OK else "残高: 100 % ü")


@by_path
async def test_initial_metadata_comes_before_any_message(front: StreamFront, method: Method) -> None:
    for initial in (INITIAL, ()):
        go_on = asyncio.Event()

        async def handle(context: Any, initial: Any = initial, go_on: asyncio.Event = go_on) -> None:
            await context.send_initial_metadata(initial)
            await go_on.wait()
            await context.write(b"answer")

        front.backend.handle = handle
        call = front.call(method)
        if method is not UP:  # grpc.aio shows it of such a call only when the answer is there
            assert tuple(await asyncio.wait_for(call.initial_metadata(), PATIENCE_SECONDS)) == initial
        go_on.set()
        assert await read_all(call) == [b"answer"]
        assert tuple(await call.initial_metadata()) == initial


@by_path
async def test_initial_metadata_comes_even_if_no_message_does(front: StreamFront, method: Method) -> None:
    async def handle(context: Any) -> None:
        await context.send_initial_metadata(INITIAL)
        await context.abort(Status.NOT_FOUND, "no")

    front.backend.handle = handle
    call = front.call(method)
    assert (await end_of(call))[0] == Status.NOT_FOUND
    assert tuple(await call.initial_metadata()) == INITIAL


@by_path
async def test_rich_details_pass_unchanged(front: StreamFront, method: Method) -> None:
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason="INSUFFICIENT_FUNDS", domain="sekisho", metadata={"a": "b"}))
    rich = RichStatus(code=9, message="different from the plain message", details=[detail]).SerializeToString()

    for details in (rich, b"", b"\xff no status"):
        for messages in (0, 1):

            async def handle(context: Any, details: bytes = details, messages: int = messages) -> None:
                for _ in range(messages):
                    await context.write(b"answer")
                await context.abort(Status.UNAVAILABLE, "plain", ((DETAILS_KEY, details), ("x-more", "1")))

            front.backend.handle = handle
            call = front.call(method)
            assert (await end_of(call))[0] == Status.UNAVAILABLE
            assert await call.details() == "plain"
            assert tuple(await call.trailing_metadata()) == ((DETAILS_KEY, details), ("x-more", "1"))


@by_path
async def test_an_error_without_initial_metadata_comes_as_trailers_only(front: StreamFront, method: Method) -> None:
    for initial in ((), (("x-one", "1"),)):

        async def handle(context: Any, initial: Any = initial) -> None:
            if initial:
                await context.send_initial_metadata(initial)
            await context.abort(Status.NOT_FOUND, "no", TRAILING)

        front.backend.handle = handle
        for _ in range(50):  # the order of events must not matter
            answer = await front.post(method, MESSAGE)
            assert (answer.status, answer.is_trailers_only) == (Status.NOT_FOUND.value[0], not initial)


@sending
async def test_a_backends_refusal_reaches_a_caller_that_still_sends(front: StreamFront, method: Method) -> None:
    async def handle(context: Any) -> None:
        await context.read()
        await context.abort(Status.FAILED_PRECONDITION, "stop", (("x-why", "because"),))

    front.backend.handle = handle
    with captured() as lines:
        for number in range(40):
            call = front.call(method)
            sender = asyncio.create_task(send_until_refused(call, bytes(number * KIB)))
            assert await end_of(call) == (Status.FAILED_PRECONDITION, "")
            assert tuple(await call.trailing_metadata()) == (("x-why", "because"),)
            await sender
    assert {line["event"] for line in lines} == {"call"}


# -- Deadlines and cancellation


@by_path
async def test_a_deadline_ends_a_stream_on_both_sides(front: StreamFront, method: Method) -> None:
    remaining = list[float | None]()

    async def handle(context: Any) -> None:
        remaining.append(context.time_remaining())
        await forever()

    front.backend.handle = handle
    seconds = 0.25
    while not remaining:  # on a busy machine the time may be over before the backend hears of the call
        seconds *= 2
        assert (await end_of(front.call(method, timeout=seconds)))[0] == Status.DEADLINE_EXCEEDED
    await soon(front.backend.cancelled)
    assert remaining[0] is not None
    assert 0 < remaining[0] < seconds


@by_path
async def test_a_stream_without_a_deadline_has_none_at_the_backend_and_outlives_unary_calls(
    folder: Path, method: Method
) -> None:
    go_on, remaining = asyncio.Event(), list[float | None]()

    async def handle(context: Any) -> None:
        remaining.append(context.time_remaining())
        await go_on.wait()
        await context.write(b"late")

    async with front_of(folder, call_timeout_seconds=0.3) as front:
        front.backend.handle = handle
        call = asyncio.ensure_future(read_all(front.call(method, timeout=None)))
        await soon(front.backend.begun)
        assert (await end_of(front.call(UNARY)))[0] == Status.DEADLINE_EXCEEDED
        go_on.set()
        assert await call == [b"late"]
        assert remaining[0] is None


@by_path
@pytest.mark.parametrize("half_closed", [False, True])
async def test_a_caller_who_cancels_cancels_at_the_backend(
    front: StreamFront, method: Method, *, half_closed: bool
) -> None:
    front.backend.handle = forever
    call = front.call(method)
    if half_closed and method is not DOWN:
        await call.write(b"message")
        await call.done_writing()
    await soon(front.backend.begun)
    call.cancel()
    await soon(front.backend.cancelled)


@sending
async def test_a_fault_in_handing_the_callers_messages_on_ends_the_call_and_is_logged(
    front: StreamFront, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("gateway.proxy._pump", broken)
    front.backend.handle = forever
    before = calls_under_way()
    with captured() as lines:
        assert await end_of(front.call(method, iter([b"message"]))) == (Status.INTERNAL, "INTERNAL")
        await over(before, front)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["unexpected error"]


@receiving
async def test_callers_who_cancel_while_messages_come_leave_no_error_in_the_log(
    front: StreamFront, method: Method
) -> None:
    async def handle(context: Any) -> None:
        while True:
            await context.write(bytes(KIB))

    front.backend.handle = handle
    before = calls_under_way()
    with captured() as lines:
        for number in range(100):
            call = front.call(method)
            for _ in range(number % 5):
                await call.read()
            call.cancel()
        await over(before, front)
    assert {(line["event"], line["status"]) for line in lines} == {("call", "CANCELLED")}


@sending
@pytest.mark.parametrize("how", ["cancelled", "disconnected", "over the limit"])
async def test_a_stream_that_breaks_off_never_looks_complete_to_the_backend(
    folder: Path, method: Method, how: str
) -> None:
    async def break_off(front: StreamFront, seen: asyncio.Semaphore) -> None:
        if how == "disconnected":
            raw = asyncio.create_task(front.post(method, open_data=MESSAGE))
            await seen.acquire()
            raw.cancel()
            return
        async with front.caller(max_message_bytes=8 * MIB) as channel:
            call = front.call(method, channel=channel)
            await call.write(b"a part")
            await seen.acquire()
            if how == "cancelled":
                call.cancel()
            else:
                await send_until_refused(call, bytes(4 * MIB + 1))
                assert (await end_of(call))[0] == Status.RESOURCE_EXHAUSTED

    async with (
        raw_http2.recording(folder, "payments") as recorder,
        stream_front(folder, backend_port=recorder.port) as front,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        for _ in range(20):
            await break_off(front, recorder.data)
            await recorder.broken_off.acquire()
        assert recorder.half_closed == 0


# -- The access token expires


@by_path
@pytest.mark.parametrize("idle", [False, True])
async def test_a_stream_ends_when_its_access_token_expires(front: StreamFront, method: Method, *, idle: bool) -> None:
    async def handle(context: Any) -> None:
        while not idle and method is not UP:
            await context.write(bytes(100))
        await (forever() if idle else received_by(context))

    front.auth.reply = changed(subject_token_expires_in=1)
    front.backend.handle = handle
    call = front.call(method)
    sender = None if idle or method is DOWN else asyncio.create_task(send_until_refused(call, bytes(100)))
    assert await end_of(call) == (Status.UNAUTHENTICATED, "TOKEN_EXPIRED")
    if method is not UP or idle:
        await soon(front.backend.cancelled)
    if sender:
        await sender


async def test_a_stream_by_a_kept_exchange_ends_when_the_access_token_does(front: StreamFront) -> None:
    front.auth.reply = changed(subject_token_expires_in=1)
    front.backend.handle = forever
    calls = [asyncio.ensure_future(end_of(front.call(DOWN)))]
    await soon(front.backend.begun)
    calls.append(asyncio.ensure_future(end_of(front.call(DOWN))))
    assert await asyncio.gather(*calls) == [(Status.UNAUTHENTICATED, "TOKEN_EXPIRED")] * 2
    assert await end_of(front.call(DOWN)) == (Status.UNAUTHENTICATED, "TOKEN_EXPIRED")
    assert len(front.auth.requests) == 1


async def test_a_caller_that_does_not_read_does_not_keep_the_backend_busy_when_its_token_has_expired(
    front: StreamFront,
) -> None:
    async def handle(context: Any) -> None:
        while True:
            await context.write(bytes(256 * KIB))

    front.auth.reply = changed(subject_token_expires_in=2)
    front.backend.handle = handle
    call = front.call(DOWN)
    await soon(front.backend.cancelled)
    assert await end_of(call) == (Status.UNAUTHENTICATED, "TOKEN_EXPIRED")


# -- Callers and backends that misbehave


@sending
async def test_a_message_over_the_limit_ends_the_stream(front: StreamFront, method: Method) -> None:
    received = list[bytes]()

    async def handle(context: Any) -> None:
        received.extend(await received_by(context))
        await forever()

    front.backend.handle = handle
    async with front.caller(max_message_bytes=8 * MIB) as channel:
        call = front.call(method, channel=channel)
        await call.write(b"small")
        await send_until_refused(call, bytes(4 * MIB + 1))
        assert (await end_of(call))[0] == Status.RESOURCE_EXHAUSTED
        await soon(front.backend.cancelled)
        assert received in ([], [b"small"])
        front.backend.handle = echo_one
        assert await read_all(front.call(method, iter([b"next"]), channel=channel)) == [b"next"]


async def echo_one(context: Any) -> None:
    await context.write(b"".join(await received_by(context)))


@by_path
async def test_an_answer_over_the_limit_ends_the_stream(front: StreamFront, method: Method) -> None:
    async def handle(context: Any) -> None:
        await context.write(bytes(4 * MIB + 1))
        await forever()

    front.backend.handle = handle
    call = front.call(method)
    assert (await end_of(call))[0] == Status.RESOURCE_EXHAUSTED
    assert str(front.backend.port) not in await call.details()
    await soon(front.backend.cancelled)


@sending
async def test_a_message_too_large_for_the_way_to_the_backend_ends_the_stream(folder: Path, method: Method) -> None:
    async with front_of(folder, backend_max_message_bytes=32 * KIB) as front:
        front.backend.handle = forever
        call = front.call(method)
        await call.write(b"small")
        await send_until_refused(call, bytes(64 * KIB))
        assert (await end_of(call))[0] == Status.RESOURCE_EXHAUSTED


@sending
async def test_a_caller_that_half_closes_and_goes_silent_gets_its_answer(front: StreamFront, method: Method) -> None:
    async def handle(context: Any) -> None:
        messages = await received_by(context)
        await context.write(b",".join(messages))

    front.backend.handle = handle
    for data in (MESSAGE, MESSAGE * 3, b""):
        answer = await front.post(method, data)
        assert answer.status == 0


async def test_a_stream_whose_only_message_never_comes_is_refused(folder: Path) -> None:
    async with front_of(folder, call_timeout_seconds=0.2) as front:
        for data, open_data in ((None, b""), (None, MESSAGE[:-1]), (b"", b""), (b"", MESSAGE[:-1])):
            answer = await front.post(DOWN, data, open_data=open_data)
            assert answer.status == Status.INVALID_ARGUMENT.value[0]
        assert len(front.backend.calls) == 1


@by_path
@pytest.mark.parametrize("messages", [0, 1])
async def test_a_backend_that_dies_in_mid_stream_ends_the_stream(
    front: StreamFront, method: Method, messages: int
) -> None:
    async def handle(context: Any) -> None:
        for _ in range(messages):
            await context.write(b"answer")
        asyncio.get_running_loop().call_soon(begun.set)
        await forever()

    begun = asyncio.Event()

    front.backend.handle = handle
    call = front.call(method)
    end = asyncio.ensure_future(end_of(call))
    await soon(begun)
    await front.backend.kill()
    assert await end in {
        (Status.UNAVAILABLE, "BACKEND_UNAVAILABLE"),
        (Status.CANCELLED, ""),
        (Status.UNIMPLEMENTED, ""),
    }
    assert str(front.backend.port) not in await call.details()


@by_path
async def test_a_backend_that_is_not_there_is_said_to_be_by_trailers_only(folder: Path, method: Method) -> None:
    async with stream_front(folder, backend_port=1) as front:
        for _ in range(20):
            answer = await front.post(method, MESSAGE)
            assert (answer.status, answer.is_trailers_only) == (Status.UNAVAILABLE.value[0], True)
        assert await end_of(front.call(method, iter([b""]))) == (Status.UNAVAILABLE, "BACKEND_UNAVAILABLE")


GARBAGE: dict[str, list[raw_http2.Frame]] = {
    "no headers": [raw_http2.Frame(raw_http2.HEADERS, raw_http2.END_HEADERS, b"\xff" * 100)],
    "half a message": [
        raw_http2.response_headers(raw_http2.OK_HEADERS),
        raw_http2.Frame(raw_http2.DATA, raw_http2.END_STREAM, MESSAGE[:-1]),
    ],
    "a message and garbage": [
        raw_http2.response_headers(raw_http2.OK_HEADERS),
        raw_http2.Frame(raw_http2.DATA, raw_http2.END_STREAM, MESSAGE + b"\xff" * 100),
    ],
    "no trailers": [
        raw_http2.response_headers(raw_http2.OK_HEADERS),
        raw_http2.Frame(raw_http2.DATA, raw_http2.END_STREAM, MESSAGE),
    ],
    "a reset": [
        raw_http2.response_headers(raw_http2.OK_HEADERS),
        raw_http2.Frame(raw_http2.DATA, 0, MESSAGE),
        raw_http2.Frame(raw_http2.RST_STREAM, 0, (2).to_bytes(4)),
    ],
    "another protocol": [
        raw_http2.response_headers([(b":status", b"502"), (b"content-type", b"text/html")], last=True)
    ],
}


@by_path
@pytest.mark.parametrize("frames", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_from_a_backend_ends_the_stream(
    folder: Path, method: Method, frames: list[raw_http2.Frame]
) -> None:
    async with (
        raw_http2.answering(folder, "payments", frames) as port,
        stream_front(folder, backend_port=port) as front,
    ):
        call = front.call(method, iter([b""]), timeout=PATIENCE_SECONDS)
        assert (await end_of(call))[0] not in {Status.OK, Status.DEADLINE_EXCEEDED}
        assert str(port) not in await call.details()


@pytest.mark.parametrize("count", [0, 2])
async def test_a_backend_that_does_not_give_the_one_answer_is_at_fault(front: StreamFront, count: int) -> None:
    call = front.call(UP, iter([b"hello"] * count))
    assert await end_of(call) == (Status.INTERNAL, "BACKEND_FAULT")


# -- Life of the gateway


@by_path
async def test_open_streams_are_ended_when_the_drain_time_is_over(folder: Path, method: Method) -> None:
    async with front_of(folder, drain_seconds=0.2) as front:
        front.backend.handle = forever
        call = asyncio.ensure_future(end_of(front.call(method)))
        await soon(front.backend.begun)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await front.server.stop()
        assert (await call)[0] == Status.UNAVAILABLE
        await soon(front.backend.cancelled)


async def test_a_stream_that_ends_within_the_drain_time_is_finished(front: StreamFront) -> None:
    call = front.call(BOTH)
    await call.write(b"before")
    assert await call.read() == b"before"
    stopping = asyncio.ensure_future(front.server.stop())
    await call.write(b"while it stops")
    assert await call.read() == b"while it stops"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    await stopping
    assert await call.code() == Status.OK


async def one_of_each_end(front: StreamFront) -> None:
    """Make streams end in every way at once."""

    async def messages() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(10 * KIB)

    async def cancelled(method: Method) -> None:
        call = front.call(method)
        await call.initial_metadata()
        call.cancel()

    async def handle(context: Any) -> None:
        first = await context.read()
        await context.send_initial_metadata(())
        if first is grpc.aio.EOF:
            return
        await context.write(first)
        if len(first) == 1:
            await context.abort(Status.ABORTED, "no")
        await received_by(context)

    front.backend.handle = handle
    await asyncio.gather(
        end_of(front.call(BOTH, messages())),
        end_of(front.call(UP, messages())),
        end_of(front.call(DOWN, bytes(10 * KIB))),
        end_of(front.call(BOTH, iter([b"1"]))),
        end_of(front.call(DOWN, b"1")),
        end_of(front.call(BOTH, timeout=0.05)),
        cancelled(DOWN),
    )


async def test_streams_leave_nothing_behind(front: StreamFront) -> None:
    async def many(rounds: int) -> int:
        before = calls_under_way()
        for _ in range(rounds):
            await asyncio.gather(*(one_of_each_end(front) for _ in range(5)))  # a deadline among them takes its time
        await over(before, front)
        front.backend.calls.clear()
        gc.collect()
        return len(gc.get_objects())

    objects_before, memory = await many(4), peak_memory()
    # Some come once, for good, such as what formats a traceback; each stream has dozens.
    assert await many(20) <= objects_before + 2_000
    assert peak_memory() - memory < 32 * MIB


@pytest.mark.parametrize("left", [b"99999999H", b"2562047H", b"99999999M", b"10S"])
@pytest.mark.parametrize("method", [UNARY, *STREAMS], ids=lambda method: method.path)
async def test_a_deadline_may_be_as_far_away_as_can_be_written(front: StreamFront, method: Method, left: bytes) -> None:
    answer = await front.post(method, MESSAGE, (b"grpc-timeout", left))
    assert answer.status == 0
