import asyncio
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.calls import request_id
from mesh.calls.error_info import read_error_info
from mesh.errors import Code, ServiceError
from mesh.interceptors.calls import CallInterceptor
from mesh.interceptors.peers import PeerInterceptor
from tests.unit.mesh.echo_servers import (
    ECHO,
    UNARY,
    calling,
    echo,
    echo_server,
    echoing,
    failure,
    server_config,
    started,
    unary,
)

Lines = list[MutableMapping[str, Any]]


class TooLate(ServiceError):
    code = Code.FAILED_PRECONDITION


async def answer(request: bytes, context: Any) -> bytes:
    match request:
        case b"refuse":
            raise TooLate("too late")
        case b"break":
            raise RuntimeError("the secret text")
        case b"abort":
            await context.abort(grpc.StatusCode.DATA_LOSS, "lost")
        case b"set":
            context.set_code(grpc.StatusCode.OUT_OF_RANGE)
    return request


async def stream(request: bytes, _: object) -> AsyncIterator[bytes]:
    yield request
    if request == b"refuse":
        raise TooLate("too late")
    if request == b"wait":
        await asyncio.Event().wait()


HANDLERS = {**unary(answer), "Stream": grpc.unary_stream_rpc_method_handler(stream)}


@pytest.mark.parametrize(("length", "reason"), [(500, ""), (1_000, "METADATA_TOO_LARGE")])
async def test_metadata_over_the_limit_is_refused_and_kept_nowhere(
    certificates: Path, length: int, reason: str
) -> None:
    kept: list[Any] = []
    limiting = CallInterceptor(
        [lambda record: kept.append((bool(record.metadata), record.reason))],
        with_workloads=False,
        max_metadata_bytes=1_000,
    )

    async with echoing(certificates, HANDLERS, [limiting]) as channel:
        call = channel.unary_unary(UNARY)(b"hello", metadata=[("x-large", "a" * length)])
        if reason:
            error = await failure(call)
            assert (error.code(), read_error_info(error)[0]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
        else:
            await call
    assert kept == [(not reason, reason)]


async def test_an_observer_that_fails_changes_no_answer_and_keeps_no_other_from_being_told(
    certificates: Path, log_lines: Lines
) -> None:
    told: list[str] = []

    def fail(_record: object) -> None:
        raise OSError("no space left")

    watched = CallInterceptor(
        [fail, lambda record: told.append(record.status)], with_workloads=False, max_metadata_bytes=1_000
    )
    async with echoing(certificates, HANDLERS, [watched]) as channel:
        assert await channel.unary_unary(UNARY)(b"fine") == b"fine"
        error = await failure(channel.unary_unary(UNARY)(b"refuse"))
    assert (error.code(), read_error_info(error)[0]) == (grpc.StatusCode.FAILED_PRECONDITION, "TOO_LATE")
    assert told == ["OK", "FAILED_PRECONDITION"]
    assert sum(line["event"] == "an observer of calls failed" for line in log_lines) == 2


def calls(lines: Lines) -> Lines:
    return [line for line in lines if line["event"] == "call"]


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (b"fine", "OK", None),
        (b"refuse", "FAILED_PRECONDITION", "TOO_LATE"),
        (b"break", "INTERNAL", "INTERNAL"),
        (b"abort", "DATA_LOSS", None),
        (b"set", "OUT_OF_RANGE", None),
    ],
)
async def test_a_call_is_logged_once_with_its_status(
    certificates: Path, log_lines: Lines, request_: bytes, status: str, reason: str | None
) -> None:
    async with echoing(certificates, HANDLERS) as channel:
        if status == "OK":
            await channel.unary_unary(UNARY)(request_)
        else:
            assert (await failure(channel.unary_unary(UNARY)(request_))).code().name == status
    (line,) = calls(log_lines)
    assert (line["method"], line["peer"], line["status"]) == (UNARY, "spiffe://sekisho/gateway", status)
    assert line.get("reason") == reason
    assert line["milliseconds"] >= 0
    assert "secret" not in str(line)


@pytest.mark.parametrize(
    ("request_", "status"), [(b"fine", "OK"), (b"refuse", "FAILED_PRECONDITION"), (b"wait", "CANCELLED")]
)
async def test_a_stream_is_logged_once_when_it_ends(
    certificates: Path, log_lines: Lines, request_: bytes, status: str
) -> None:
    async with echoing(certificates, HANDLERS) as channel:
        call = channel.unary_stream(f"/{ECHO}/Stream")(request_)
        assert await call.read() == request_
        if status == "CANCELLED":
            call.cancel()
        elif status == "OK":
            assert await call.read() is grpc.aio.EOF
        else:
            await failure(call.read())
    (line,) = calls(log_lines)
    assert line["status"] == status


async def test_refusals_of_inner_interceptors_are_logged_with_who_was_refused(
    certificates: Path, log_lines: Lines
) -> None:
    table = PeerInterceptor({ECHO: frozenset({"gateway"})})
    async with (
        started(echo_server(server_config(certificates), unary(echo), [table])) as server,
        calling(server, certificates, "payments") as channel,
    ):
        await failure(channel.unary_unary(UNARY)(b""))
    (line,) = calls(log_lines)
    assert line["peer"] == "spiffe://sekisho/payments"
    assert (line["status"], line["reason"]) == ("PERMISSION_DENIED", "WORKLOAD_NOT_ALLOWED")


async def test_a_caller_without_a_certificate_is_logged_by_its_address(certificates: Path, log_lines: Lines) -> None:
    async with (
        started(echo_server(server_config(certificates, mtls=False), unary(echo))) as server,
        calling(server, certificates, None) as channel,
    ):
        await channel.unary_unary(UNARY)(b"")
    (line,) = calls(log_lines)
    assert line["peer"].startswith("ipv4:127.0.0.1:")


async def test_health_checks_are_not_logged(certificates: Path, log_lines: Lines) -> None:
    async with echoing(certificates, HANDLERS) as channel:
        await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    assert calls(log_lines) == []


async def test_one_calls_reason_does_not_stay_for_the_next(certificates: Path, log_lines: Lines) -> None:
    async with echoing(certificates, HANDLERS) as channel:
        await failure(channel.unary_unary(UNARY)(b"refuse"))
        await channel.unary_unary(UNARY)(b"fine")
    assert [line.get("reason") for line in calls(log_lines)] == ["TOO_LATE", None]


async def current(_: bytes, __: object) -> bytes:
    return dict(request_id.outgoing())[request_id.KEY].encode()


async def adopted(certificates: Path, *metadata: tuple[str, str]) -> str:
    async with echoing(certificates, unary(current)) as channel:
        answer: bytes = await channel.unary_unary(UNARY)(b"", metadata=metadata)
        return answer.decode()


async def test_the_callers_request_id_is_adopted_and_logged(certificates: Path, log_lines: Lines) -> None:
    assert await adopted(certificates, ("x-request-id", "abc-1")) == "abc-1"
    assert [line["request_id"] for line in log_lines if line["event"] == "call"] == ["abc-1"]


@pytest.mark.parametrize("presented", ["a b", "a" * 65, '{"admin":true}', "a;b", ""])
async def test_a_malformed_request_id_is_replaced(certificates: Path, presented: str) -> None:
    found = await adopted(certificates, ("x-request-id", presented))
    assert found not in ("", presented)
    assert presented == "" or presented not in found


async def test_a_call_without_a_request_id_gets_a_new_one(certificates: Path) -> None:
    assert await adopted(certificates) != await adopted(certificates)


async def test_concurrent_calls_keep_their_request_ids_apart(certificates: Path, log_lines: Lines) -> None:
    barrier = asyncio.Barrier(10)

    async def together(request: bytes, context: object) -> bytes:
        await barrier.wait()
        return await current(request, context)

    async with echoing(certificates, unary(together)) as channel:
        call = channel.unary_unary(UNARY)
        calls = [call(b"", metadata=[("x-request-id", f"call-{i}")]) for i in range(10)]
        assert [await one for one in calls] == [f"call-{i}".encode() for i in range(10)]
    logged = sorted(line["request_id"] for line in log_lines if line["event"] == "call")
    assert logged == sorted(f"call-{i}" for i in range(10))
