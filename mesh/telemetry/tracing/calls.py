"""Makes each call that is answered a span, and calls that it makes part of the same trace."""

import random
from collections.abc import Iterable

import grpc
from opentelemetry.context import Context, attach
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mesh.access.descriptors import service_of
from mesh.calls.call_record import CallRecord, Metadata, current_call
from mesh.calls.infrastructure import INFRASTRUCTURE_SERVICES
from mesh.calls.wrapping import Context as CallContext
from mesh.calls.wrapping import Handler, Run, wrap

# A method's name may be whatever a stranger thinks of.
_MAX_CHARACTERS = 256
# What is the server's own fault, by OpenTelemetry's semantic conventions for gRPC; the rest is the caller's.
_SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})

_headers = TraceContextTextMapPropagator()  # no baggage: nobody here reads it


class TraceInterceptor:
    """Begins the span of each call, but for health and reflection, which say nothing about traffic.

    Args:
        tracer: Begins spans.
        strangers_ratio: The share of calls that is recorded whatever callers say, who are strangers; None if their word
            counts.

    """

    def __init__(self, tracer: Tracer, strangers_ratio: float | None) -> None:
        self._tracer = tracer
        self._strangers_ratio = strangers_ratio

    def intercept(self, path: str, handler: Handler | None) -> Handler | None:
        """Wrap the handler."""
        if service_of(path) in INFRASTRUCTURE_SERVICES:
            return handler

        async def traced(run: Run, request: object, context: CallContext) -> object:
            record = current_call()
            span = begin(self._tracer, path, SpanKind.SERVER, self._callers(record.metadata))
            # It stays for the whole call: grpc.aio runs all of it in one task.
            attach(set_span_in_context(span, Context()))
            if span.is_recording():
                record.trace_id = format_trace_id(span.get_span_context().trace_id)
            return await run(request, context)

        return wrap(handler, traced)

    def _callers(self, metadata: Metadata) -> Context:
        """Return what the call's span begins in: the caller's span, or none. Never what this thread is doing."""
        carrier = {key: value for key, value in metadata if key in _headers.fields and isinstance(value, str)}
        context = _headers.extract(carrier, Context())
        said = get_current_span(context).get_span_context()
        if not said.is_valid or self._strangers_ratio is None:
            return context
        # Drawn by lot, as the trace's id, which samplers go by else, is the stranger's own choice.
        drawn = TraceFlags(random.random() < self._strangers_ratio)  # noqa: S311 - a sample
        believed = SpanContext(said.trace_id, said.span_id, is_remote=True, trace_flags=drawn)
        return set_span_in_context(NonRecordingSpan(believed), Context())


def end_call(record: CallRecord) -> None:
    """End the span of the current call, if it has one, with how the call ended."""
    span = get_current_span()
    if not span.is_recording():
        return
    said = {
        "client_type": record.client_type,
        "decision": record.decision,
        "reason": record.reason,
        "request_id": record.request_id,
    }
    span.set_attributes({f"sekisho.{name}": str(value) for name, value in said.items() if value})
    end(span, grpc.StatusCode[record.status], fault=record.status in _SERVER_FAULTS)


def begin(tracer: Tracer, path: str, kind: SpanKind, context: Context | None = None) -> Span:
    """Begin the span of a call, made or answered, in the current one if not told otherwise."""
    service, _, method = path[1:].rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    return tracer.start_span(path[1 : _MAX_CHARACTERS + 1], context, kind, attributes)


def end(span: Span, status: grpc.StatusCode, *, fault: bool) -> None:
    """End the span of a call."""
    span.set_attribute("rpc.grpc.status_code", status.value[0])
    if fault:
        span.set_status(StatusCode.ERROR)
    span.end()


def outgoing(span: Span) -> Iterable[tuple[str, str]]:
    """Return the metadata by which the next service knows that it is called in a span, recorded or not."""
    carrier = dict[str, str]()
    _headers.inject(carrier, set_span_in_context(span, Context()))
    return carrier.items()
