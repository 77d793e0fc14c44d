from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from mesh.calls.error_info import DETAILS_KEY, read_error_info
from mesh.errors import Code, InvalidRequest, ServiceError
from tests.unit.mesh.echo_servers import ECHO, UNARY, echo, echoing, failure, unary

SECRET = "hunter2 in /var/lib/sekisho/payments.db"


def handlers_that_raise(error: BaseException) -> Mapping[str, Any]:
    async def answer(_: bytes, __: object) -> bytes:
        raise error

    return unary(answer)


async def error_of(
    certificates: Path, handlers: Mapping[str, Any], metadata: Sequence[tuple[str, str]] = ()
) -> grpc.aio.AioRpcError:
    async with echoing(certificates, handlers) as channel:
        return await failure(channel.unary_unary(UNARY)(b"x", metadata=metadata))


def status_of(error: grpc.aio.AioRpcError) -> Status:
    values = [value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY]
    assert len(values) == 1
    assert isinstance(values[0], bytes)
    return Status.FromString(values[0])


@pytest.mark.parametrize("code", list(Code))
async def test_a_service_error_becomes_its_status_with_reason_and_metadata(certificates: Path, code: Code) -> None:
    kind = type("ThingNotRight", (ServiceError,), {"code": code})
    error = await error_of(certificates, handlers_that_raise(kind("not right: Käse", thing="thg_1")))
    assert error.code().value[0] == code
    assert error.details() == "not right: Käse"
    assert read_error_info(error) == ("THING_NOT_RIGHT", {"thing": "thg_1"})


async def test_status_and_details_say_the_same_in_the_domain_sekisho(certificates: Path) -> None:
    kind = type("Gone", (ServiceError,), {"code": Code.NOT_FOUND})
    status = status_of(await error_of(certificates, handlers_that_raise(kind("gone"))))
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message, info.domain, len(status.details)) == (5, "gone", "sekisho", 2)


@pytest.mark.parametrize("error", [InvalidRequest({"a": "too long"}), RuntimeError("a fault")])
@pytest.mark.parametrize("presented", ["the-callers-own-id", ""])
async def test_every_refusal_carries_the_request_id_that_the_log_has(
    certificates: Path, log_lines: list[MutableMapping[str, Any]], error: Exception, presented: str
) -> None:
    metadata = [("x-request-id", presented)] if presented else []
    refused = RequestInfo()
    assert status_of(await error_of(certificates, handlers_that_raise(error), metadata)).details[1].Unpack(refused)
    assert [line["request_id"] for line in log_lines if line["event"] == "call"] == [refused.request_id]
    assert refused.request_id
    assert presented in ("", refused.request_id)


async def test_an_error_that_passes_says_when_to_try_again(certificates: Path) -> None:
    kind = type("TooMuch", (ServiceError,), {"code": Code.RESOURCE_EXHAUSTED, "retry_seconds": 1.2345})
    retry = RetryInfo()
    details = status_of(await error_of(certificates, handlers_that_raise(kind("too much")))).details
    assert [detail.Unpack(retry) for detail in details].count(True) == 1
    assert retry.retry_delay.ToMilliseconds() == 1235


async def test_an_invalid_request_lists_its_fields_in_bad_request(certificates: Path) -> None:
    error = await error_of(certificates, handlers_that_raise(InvalidRequest({"a.b": "must be set", "c": "too long"})))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert read_error_info(error)[0] == "INVALID_REQUEST"
    bad_request = BadRequest()
    assert status_of(error).details[2].Unpack(bad_request)
    assert [(violation.field, violation.description) for violation in bad_request.field_violations] == [
        ("a.b", "must be set"),
        ("c", "too long"),
    ]


@pytest.mark.parametrize(
    "unknown", [RuntimeError(SECRET), KeyError(SECRET), AssertionError(SECRET), OSError(2, SECRET)]
)
async def test_an_unknown_exception_becomes_internal_and_its_text_stays_in_the_log(
    certificates: Path, log_lines: list[MutableMapping[str, Any]], unknown: Exception
) -> None:
    error = await error_of(certificates, handlers_that_raise(unknown))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "internal error"
    assert read_error_info(error) == ("INTERNAL", {})
    assert "hunter2" not in repr(error) + repr(error.trailing_metadata())
    logged = next(line for line in log_lines if line["log_level"] == "error")
    assert SECRET in logged["exception"]
    assert logged["request_id"]


async def test_a_stream_that_breaks_off_says_why(certificates: Path) -> None:
    kind = type("BrokenOff", (ServiceError,), {"code": Code.UNAVAILABLE})

    async def answer(request: bytes, _: object) -> AsyncIterator[bytes]:
        yield request
        raise kind("broken off")

    async with echoing(certificates, {"Stream": grpc.unary_stream_rpc_method_handler(answer)}) as channel:
        stream = channel.unary_stream(f"/{ECHO}/Stream")(b"x")
        assert await stream.read() == b"x"
        error = await failure(stream.read())
        assert (error.code(), read_error_info(error)[0]) == (grpc.StatusCode.UNAVAILABLE, "BROKEN_OFF")


async def test_a_handler_that_ends_the_call_itself_is_left_alone(certificates: Path) -> None:
    async def answer(_: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.DATA_LOSS, "lost", (("trailer", "x"),))
        raise AssertionError

    error = await error_of(certificates, unary(answer))
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "lost")
    assert dict(error.trailing_metadata() or ())["trailer"] == "x"


async def test_a_server_works_on_after_an_error(certificates: Path) -> None:
    async def answer(request: bytes, context: object) -> bytes:
        if request == b"bad":
            raise RuntimeError
        return await echo(request, context)

    async with echoing(certificates, unary(answer)) as channel:
        await failure(channel.unary_unary(UNARY)(b"bad"))
        assert await channel.unary_unary(UNARY)(b"good") == b"good"
