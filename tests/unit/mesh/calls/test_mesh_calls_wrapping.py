import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.calls.wrapping import Handler, Run, wrap
from mesh.errors import Code, ServiceError
from mesh.interceptors.calls import CallInterceptor
from tests.unit.mesh.echo_servers import ECHO, echoing, failure


class Surrounding:
    """Notes when it is entered and left."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def intercept(self, _path: str, handler: Handler | None) -> Handler | None:
        async def around(run: Run, request: object, context: Any) -> Any:
            self.notes.append("enter")
            try:
                answer = await run(request, context)
            except BaseException as error:
                self.notes.append(type(error).__name__)
                raise
            self.notes.append("leave")
            return answer

        return wrap(handler, around)


async def unary_unary(request: bytes, _: object) -> bytes:
    return request.upper()


async def unary_stream(request: bytes, _: object) -> AsyncIterator[bytes]:
    for byte in request:
        yield bytes([byte])


async def written_stream(request: bytes, context: Any) -> None:
    for byte in request:
        await context.write(bytes([byte]))


async def stream_unary(requests: AsyncIterator[bytes], _: object) -> bytes:
    return b"".join([request async for request in requests])


async def stream_stream(requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request.upper()


class Refused(ServiceError):
    code = Code.FAILED_PRECONDITION


async def failing_unary(_: bytes, __: object) -> bytes:
    raise Refused("no")


async def failing_stream(_: bytes, __: object) -> AsyncIterator[bytes]:
    yield b"first"
    raise Refused("no")


async def endless_stream(request: bytes, _: object) -> AsyncIterator[bytes]:
    while True:
        yield request
        await asyncio.Event().wait()


HANDLERS: Mapping[str, Any] = {
    "UnaryUnary": grpc.unary_unary_rpc_method_handler(unary_unary),
    "UnaryStream": grpc.unary_stream_rpc_method_handler(unary_stream),
    "WrittenStream": grpc.unary_stream_rpc_method_handler(written_stream),
    "StreamUnary": grpc.stream_unary_rpc_method_handler(stream_unary),
    "StreamStream": grpc.stream_stream_rpc_method_handler(stream_stream),
    "FailingUnary": grpc.unary_unary_rpc_method_handler(failing_unary),
    "FailingStream": grpc.unary_stream_rpc_method_handler(failing_stream),
    "EndlessStream": grpc.unary_stream_rpc_method_handler(endless_stream),
}


async def call(channel: grpc.aio.Channel, method: str) -> Any:
    path = f"/{ECHO}/{method}"
    if method.endswith("StreamStream"):
        return b"".join([answer async for answer in channel.stream_stream(path)(iter([b"a", b"b"]))])
    if method == "StreamUnary":
        return await channel.stream_unary(path)(iter([b"a", b"b"]))
    if method.endswith("Stream"):
        return b"".join([answer async for answer in channel.unary_stream(path)(b"ab")])
    return await channel.unary_unary(path)(b"ab")


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("UnaryUnary", b"AB"),
        ("UnaryStream", b"ab"),
        ("WrittenStream", b"ab"),
        ("StreamUnary", b"ab"),
        ("StreamStream", b"AB"),
    ],
)
async def test_every_kind_of_handler_answers_inside_its_surrounding(
    certificates: Path, method: str, answer: bytes
) -> None:
    surrounding = Surrounding()
    async with echoing(certificates, HANDLERS, [surrounding]) as channel:
        assert await call(channel, method) == answer
    assert surrounding.notes == ["enter", "leave"]


@pytest.mark.parametrize("method", ["FailingUnary", "FailingStream"])
async def test_what_a_handler_raises_passes_through_its_surrounding(certificates: Path, method: str) -> None:
    surrounding = Surrounding()
    answering = CallInterceptor((), with_workloads=False, max_metadata_bytes=8_192)
    async with echoing(certificates, HANDLERS, [surrounding, answering]) as channel:
        assert (await failure(call(channel, method))).code() is grpc.StatusCode.FAILED_PRECONDITION
    assert surrounding.notes == ["enter", "AbortError"]


async def test_a_stream_that_the_client_cancels_leaves_its_surrounding(certificates: Path) -> None:
    surrounding = Surrounding()
    async with echoing(certificates, HANDLERS, [surrounding]) as channel:
        stream = channel.unary_stream(f"/{ECHO}/EndlessStream")(b"a")
        assert await stream.read() == b"a"
        stream.cancel()
    assert surrounding.notes == ["enter", "CancelledError"]


async def test_a_method_that_does_not_exist_stays_unknown(certificates: Path) -> None:
    surrounding = Surrounding()
    async with echoing(certificates, HANDLERS, [surrounding]) as channel:
        error = await failure(channel.unary_unary(f"/{ECHO}/Nothing")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert surrounding.notes == []


def test_a_wrapped_handler_keeps_kind_and_serializers() -> None:
    async def around(run: Run, request: object, context: Any) -> Any:
        return await run(request, context)

    for streaming in (grpc.unary_stream_rpc_method_handler, grpc.stream_stream_rpc_method_handler):
        wrapped = wrap(streaming(unary_stream, bytes.fromhex, bytes.hex), around)
        assert wrapped is not None
        assert wrapped.response_streaming
        assert wrapped.request_streaming is (streaming is grpc.stream_stream_rpc_method_handler)
        assert (wrapped.request_deserializer, wrapped.response_serializer) == (bytes.fromhex, bytes.hex)
