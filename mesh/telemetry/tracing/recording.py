"""Traces by OpenTelemetry's SDK. Only a process that traces imports this."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
from opentelemetry.trace import Tracer

from mesh.calls.call_record import Observer
from mesh.calls.wrapping import Interceptor
from mesh.config import TracingConfig
from mesh.telemetry.tracing.calls import TraceInterceptor, end_call
from mesh.telemetry.tracing.channels import TracedChannel
from mesh.telemetry.tracing.databases import UnitSpans
from mesh.telemetry.tracing.export import exporting
from mesh.telemetry.tracing.untraced import AroundUnit, Tracing


class Recording(Tracing):
    """Makes spans of calls, and of what they do.

    Args:
        tracer: Begins spans.
        sample_ratio: The share of calls that is recorded, from 0 to 1.

    """

    def __init__(self, tracer: Tracer, sample_ratio: float) -> None:
        self._tracer = tracer
        self._sample_ratio = sample_ratio

    def interceptors(self, *, trusting: bool) -> Sequence[Interceptor]:
        """See `Tracing`."""
        return (TraceInterceptor(self._tracer, None if trusting else self._sample_ratio),)

    def observers(self) -> Sequence[Observer]:
        """See `Tracing`."""
        return (end_call,)

    def channel(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        """See `Tracing`."""
        return TracedChannel(channel, self._tracer)

    def around_units(self) -> AroundUnit | None:
        """See `Tracing`."""
        return UnitSpans(self._tracer).around


@asynccontextmanager
async def recording(config: TracingConfig, service: str) -> AsyncIterator[Recording]:
    """Trace as long as the context lasts; on leaving, send what is left.

    Raises:
        ConfigError: If a certificate or key can't be used, or TLS is only half configured.

    """
    async with exporting(config, service) as tracer:
        yield Recording(tracer, config.sample_ratio)
