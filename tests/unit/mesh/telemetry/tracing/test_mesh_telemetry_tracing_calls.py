import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from sqlalchemy import Connection, text

from mesh.config import TracingConfig
from mesh.errors import Code, ServiceError
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server
from mesh.storage.database import Database
from mesh.telemetry.tracing.tracing import tracing
from tests.collector import Collected, Collector, collecting
from tests.unit.mesh.echo_servers import (
    ECHO,
    UNARY,
    calling,
    echo_server,
    echo_service,
    failure,
    server_config,
    started,
    unary,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-{flags}") for flags in ("01", "00"))
STREAM = f"/{ECHO}/Stream"
HEADERS = {"traceparent", "tracestate", "baggage"}

Lines = list[MutableMapping[str, Any]]


class TooLate(ServiceError):
    code = Code.FAILED_PRECONDITION


async def answer(request: bytes, _: object) -> bytes:
    if request == b"refuse":
        raise TooLate("too late")
    if request == b"break":
        raise RuntimeError("the secret text")
    return request


async def stream(request: bytes, _: object) -> AsyncIterator[bytes]:
    yield request
    if request == b"wait":
        await asyncio.Event().wait()


async def tell(_: bytes, context: Any) -> bytes:
    return json.dumps({key: value for key, value in context.invocation_metadata() if key in HEADERS}).encode()


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(answer),
    "Stream": grpc.unary_stream_rpc_method_handler(stream),
}


@asynccontextmanager
async def traced(
    certificates: Path, endpoint: str, ratio: float = 1.0, handlers: Any = HANDLERS, *, trusting: bool = True
) -> AsyncIterator[grpc.aio.Channel]:
    """Run a server that traces; on leaving, all that it recorded has gone out."""
    async with tracing(TracingConfig(endpoint=endpoint, sample_ratio=ratio), "test") as traces:
        server = Server(
            server_config(certificates),
            [echo_service(handlers)],
            traces.interceptors(trusting=trusting),
            reflection=ReflectionHandler({}),
            observers=traces.observers(),
        )
        async with started(server), calling(server, certificates) as channel:
            yield channel


async def collected(certificates: Path, use: Callable[[grpc.aio.Channel], Any]) -> Collector:
    async with collecting() as collector:
        async with traced(certificates, collector.endpoint) as channel:
            await use(channel)
        return collector


async def passed_on(
    certificates: Path, sent: list[tuple[str, str]], *, trusting: bool = True, ratio: float = 1.0
) -> tuple[Collector, dict[str, str]]:
    """Call a server that traces, which calls one that does not; return what the latter was sent of the trace."""

    async with collecting() as collector:
        async with AsyncExitStack() as stack:
            last = await stack.enter_async_context(started(echo_server(server_config(certificates), unary(tell))))
            channel = await stack.enter_async_context(calling(last, certificates))
            config = TracingConfig(endpoint=collector.endpoint, sample_ratio=ratio)
            traces = await stack.enter_async_context(tracing(config, "test"))
            ask = traces.channel(channel).unary_unary(UNARY)

            async def pass_on(request: bytes, _: object) -> bytes:
                told: bytes = await ask(request)
                return told

            server = traced(certificates, collector.endpoint, ratio, unary(pass_on), trusting=trusting)
            first = await stack.enter_async_context(server)
            told = await first.unary_unary(UNARY)(b"", metadata=sent)
        return collector, json.loads(told)


def the_only(collector: Collector) -> Collected:
    (span,) = collector.spans
    return span


@pytest.mark.parametrize(
    ("request_", "code", "reason", "fault"),
    [(b"fine", 0, None, False), (b"refuse", 9, "TOO_LATE", False), (b"break", 13, "INTERNAL", True)],
)
async def test_a_call_is_a_span_and_its_log_line_names_the_trace(
    certificates: Path, log_lines: Lines, request_: bytes, code: int, reason: str | None, *, fault: bool
) -> None:
    async def use(channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary(UNARY)(request_, metadata=[("x-request-id", "r-1"), SAMPLED])
        await (failure(call) if code else call)

    collector = await collected(certificates, use)
    span = the_only(collector)
    assert (span.name, span.kind, span.trace_id, span.span.parent_span_id.hex()) == (UNARY[1:], "SERVER", TRACE, SPAN)
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": ECHO,
        "rpc.method": "Unary",
        "rpc.grpc.status_code": code,
        "sekisho.request_id": "r-1",
        **({"sekisho.reason": reason} if reason else {}),
    }
    assert (span.span.status.code == Status.STATUS_CODE_ERROR) is fault
    assert "secret" not in str(span)
    assert {"service.name", "service.version", "service.instance.id"} <= set(collector.resources[0])
    assert [line["trace_id"] for line in log_lines if line["event"] == "call"] == [TRACE]


async def test_a_span_of_a_stream_lasts_as_long_as_the_stream(certificates: Path) -> None:
    async def use(channel: grpc.aio.Channel) -> None:
        call = channel.unary_stream(STREAM)(b"wait")
        assert await call.read() == b"wait"
        began.append(time.time_ns())
        call.cancel()

    began: list[int] = []
    span = the_only(await collected(certificates, use))
    assert span.span.end_time_unix_nano > began[0]
    assert span.attributes["rpc.grpc.status_code"] == 1


async def test_health_is_not_traced(certificates: Path) -> None:
    async def use(channel: grpc.aio.Channel) -> None:
        await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")

    assert (await collected(certificates, use)).spans == []


@pytest.mark.parametrize(
    ("parent", "trusting", "ratio", "recorded"),
    [
        ((), True, 0.0, False),
        ([SAMPLED], True, 0.0, True),  # a workload of the company's
        ([UNSAMPLED], True, 1.0, False),
        ([SAMPLED], False, 0.0, False),  # a stranger
        ([UNSAMPLED], False, 1.0, True),
        ([("traceparent", f"00-{'0' * 31}1-{SPAN}-01")], False, 0.0001, False),  # an id that many samplers would take
    ],
)
async def test_whether_a_call_is_recorded_is_said_by_the_share_and_by_no_stranger(
    certificates: Path, log_lines: Lines, parent: Any, ratio: float, *, trusting: bool, recorded: bool
) -> None:
    collector, said = await passed_on(certificates, parent, trusting=trusting, ratio=ratio)
    assert [span.kind for span in collector.spans].count("SERVER") == recorded
    # The next service hears of it either way, and so does not draw again.
    _, trace_id, _, flags = said["traceparent"].split("-")
    assert int(flags, 16) & 1 == recorded
    assert trace_id == (parent[0][1].split("-")[1] if parent else trace_id)
    assert any("trace_id" in line for line in log_lines) is recorded


@pytest.mark.parametrize(("trusting", "state"), [(True, "a=1"), (False, None)])
async def test_of_what_strangers_say_only_the_trace_goes_on(
    certificates: Path, state: str | None, *, trusting: bool
) -> None:
    sent = [SAMPLED, ("tracestate", "a=1"), ("baggage", "b=2")]
    collector, said = await passed_on(certificates, sent, trusting=trusting)
    (hop,) = (span for span in collector.spans if span.kind == "CLIENT")
    assert said.pop("traceparent") == f"00-{TRACE}-{hop.span.span_id.hex()}-01"
    assert said == ({"tracestate": state} if state else {})


async def test_headers_that_are_malformed_or_too_long_begin_a_new_trace(certificates: Path, log_lines: Lines) -> None:
    bad = [f"00-{'0' * 32}-{SPAN}-01", "00-1-2-01", "x" * 5_000, SAMPLED[1].upper(), f"ff{SAMPLED[1][2:]}"]

    async def use(channel: grpc.aio.Channel) -> None:
        for value in bad:
            await channel.unary_unary(UNARY)(b"", metadata=[("traceparent", value), ("tracestate", "x" * 5_000)])

    collector = await collected(certificates, use)
    assert len({span.trace_id for span in collector.spans} - {TRACE}) == len(bad)
    assert {span.span.parent_span_id for span in collector.spans} == {b""}
    assert {line["event"] for line in log_lines} == {"call"}  # nobody can fill the log by them


async def test_units_of_work_on_the_database_are_spans_in_the_call(certificates: Path, tmp_path: Path) -> None:
    async with (
        collecting() as collector,
        tracing(TracingConfig(endpoint=collector.endpoint, sample_ratio=1.0), "test") as traces,
    ):
        database = Database(f"sqlite:///{tmp_path}/traced.db", traces.around_units())
        await database.read(use)  # in no call

        async def work(request: bytes, _: object) -> bytes:
            await asyncio.gather(*(database.run(use) for _ in range(3)), database.read(use))
            with pytest.raises(ValueError, match="secret"):
                await database.run(refuse)
            return request

        async with traced(certificates, collector.endpoint, handlers=unary(work)) as channel:
            await channel.unary_unary(UNARY)(b"")
        database.close()
    (call,) = (span for span in collector.spans if span.kind == "SERVER")
    units = collector.children(call)
    assert len(units) == len(collector.spans) - 1 == 5
    assert {(unit.name, unit.kind, unit.attributes["db.system.name"]) for unit in units} == {
        ("sqlite unit of work", "CLIENT", "sqlite")
    }
    assert units[0].attributes["code.function.name"].endswith(".use")
    assert units[-1].attributes["error.type"] == "ValueError"
    assert "secret" not in str(collector.spans)


def use(connection: Connection) -> None:
    connection.execute(text("SELECT :value"), {"value": "secret"})


def refuse(_connection: Connection) -> None:
    raise ValueError("secret")
