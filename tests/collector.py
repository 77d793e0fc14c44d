"""A collector of traces, as OpenTelemetry's protocol has it (OTLP over gRPC)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Collected:
    """A span that came in."""

    service: str
    span: Span

    @property
    def name(self) -> str:
        return str(self.span.name)

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def kind(self) -> str:
        return Span.SpanKind.Name(self.span.kind).removeprefix("SPAN_KIND_")

    @property
    def attributes(self) -> dict[str, Any]:
        return _plain(self.span.attributes)


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


class Collector(pb_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Collected] = []
        self.resources: list[dict[str, Any]] = []
        self.endpoint = ""

    async def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802 - named by the protocol
        for each in request.resource_spans:
            resource = _plain(each.resource.attributes)
            self.resources.append(resource)
            for scope in each.scope_spans:
                self.spans += [Collected(resource["service.name"], span) for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    def children(self, parent: Collected | str) -> list[Collected]:
        """Return what happened in a span, in the order of time."""
        span_id = bytes.fromhex(parent) if isinstance(parent, str) else parent.span.span_id
        return sorted(
            (each for each in self.spans if each.span.parent_span_id == span_id),
            key=lambda each: int(each.span.start_time_unix_nano),
        )


@asynccontextmanager
async def collecting(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Collector]:
    """Run a collector, by TLS if it has credentials."""
    collector, server = Collector(), grpc.aio.server()
    pb_grpc.add_TraceServiceServicer_to_server(collector, server)
    if credentials:
        collector.endpoint = f"https://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    else:
        collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)
