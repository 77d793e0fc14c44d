from collections.abc import AsyncIterator, Callable, MutableMapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from mesh.calls.error_info import DETAILS_KEY, read_error_info
from mesh.calls.wrapping import wrap
from mesh.errors import Code, ServiceError
from tests.unit.mesh.echo_servers import UNARY, echoing, failure

GOOD, TORN = StringValue(value="hello").SerializeToString(), b"\x0a\x07hello"

Make = Callable[..., Any]


async def one(request: StringValue, _context: object) -> bytes:
    return request.value.encode()


async def many(request: StringValue, _context: object) -> AsyncIterator[bytes]:
    yield request.value.encode()


async def one_of_many(requests: AsyncIterator[StringValue], _context: object) -> bytes:
    return b"".join([request.value.encode() async for request in requests])


async def many_of_many(requests: AsyncIterator[StringValue], _context: object) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request.value.encode()


KINDS = [
    (grpc.unary_unary_rpc_method_handler, one),
    (grpc.unary_stream_rpc_method_handler, many),
    (grpc.stream_unary_rpc_method_handler, one_of_many),
    (grpc.stream_stream_rpc_method_handler, many_of_many),
]


async def first(channel: grpc.aio.Channel, sent: bytes) -> bytes:
    """Call a method; on the wire, all kinds look alike."""
    answers = [answer async for answer in channel.unary_stream(UNARY)(sent)]
    return answers[0]


@pytest.mark.parametrize(("make", "behavior"), KINDS)
async def test_bytes_that_are_no_message_are_refused_and_a_message_is_answered(
    certificates: Path, log_lines: list[MutableMapping[str, Any]], make: Make, behavior: Any
) -> None:
    handlers = {"Unary": make(behavior, request_deserializer=StringValue.FromString)}
    async with echoing(certificates, handlers) as channel:
        assert await first(channel, GOOD) == b"hello"
        error = await failure(first(channel, TORN))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert read_error_info(error)[0] == "INVALID_REQUEST"
    (details,) = [value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY]
    assert isinstance(details, bytes)
    bad = BadRequest()
    assert any(detail.Unpack(bad) for detail in Status.FromString(details).details)
    assert [violation.field for violation in bad.field_violations] == ["*"]
    assert [line["status"] for line in log_lines if line["event"] == "call"] == ["OK", "INVALID_ARGUMENT"]
    assert not [line for line in log_lines if line["log_level"] == "error"]


class NotYou(ServiceError):
    """The caller may not call."""

    code = Code.PERMISSION_DENIED


class Refusing:
    """Lets nobody through."""

    def intercept(self, _path: str, handler: Any) -> Any:
        async def refuse(_run: object, _request: object, _context: object) -> None:
            raise NotYou("not you")

        return wrap(handler, refuse)


async def test_who_may_not_call_is_told_that_whatever_the_message(certificates: Path) -> None:
    handlers = {"Unary": grpc.unary_unary_rpc_method_handler(one, request_deserializer=StringValue.FromString)}
    async with echoing(certificates, handlers, [Refusing()]) as channel:
        assert (await failure(channel.unary_unary(UNARY)(TORN))).code() is grpc.StatusCode.PERMISSION_DENIED
