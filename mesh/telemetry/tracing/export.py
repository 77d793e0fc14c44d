"""Sends spans to a collector, from a thread of its own; no call ever waits for that."""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import grpc
import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Tracer

from mesh.config import ChannelConfig, ConfigError, TracingConfig
from mesh.security import tls
from mesh.throttle import Throttle

# At most so many spans wait for the collector; what is more is dropped.
_MAX_WAITING = 2_048
_MAX_AT_ONCE = 512
_EXPORT_EVERY_SECONDS = 1.0
_EXPORT_SECONDS = 5.0
_END_SECONDS = 2.0
_MAX_CHARACTERS = 256

_log = structlog.get_logger()


@asynccontextmanager
async def exporting(config: TracingConfig, service: str, *, end_seconds: float = _END_SECONDS) -> AsyncIterator[Tracer]:
    """Send spans as long as the context lasts; on leaving, what is left, within a bounded time.

    Args:
        config: Where the collector is, and of how many calls it hears.
        service: The service, as the collector is to call it.
        end_seconds: How long to wait, on leaving, for the collector to take what is left, and then for the attempt to
            break off.

    Yields:
        What begins spans.

    Raises:
        ConfigError: If a certificate or key can't be used, or TLS is only half configured.

    """
    credentials = _credentials(config)
    _bound_complaints()
    exporter = OTLPSpanExporter(
        endpoint=config.endpoint, insecure=credentials is None, credentials=credentials, timeout=_EXPORT_SECONDS
    )
    provider = _provider(exporter, config.sample_ratio, service)
    try:
        yield provider.get_tracer("sekisho")
    finally:
        await asyncio.to_thread(_end, provider, exporter, end_seconds)


def _provider(exporter: OTLPSpanExporter, sample_ratio: float, service: str) -> TracerProvider:
    resource = Resource(
        {"service.name": service, "service.version": version("sekisho"), "service.instance.id": uuid.uuid4().hex}
    )
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(sample_ratio),
        resource=resource,
        shutdown_on_exit=False,  # which would take as long as it likes
        span_limits=SpanLimits(max_attribute_length=_MAX_CHARACTERS),
    )
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=_MAX_WAITING,
        schedule_delay_millis=_EXPORT_EVERY_SECONDS * 1000,
        max_export_batch_size=_MAX_AT_ONCE,
    )
    provider.add_span_processor(processor)
    return provider


def _end(provider: TracerProvider, exporter: OTLPSpanExporter, seconds: float) -> None:
    ending = threading.Thread(target=provider.shutdown, name="traces-end", daemon=True)
    ending.start()
    ending.join(seconds)
    if ending.is_alive():
        exporter.shutdown()  # breaks the attempt off
        ending.join(seconds)


def _credentials(config: TracingConfig) -> grpc.ChannelCredentials | None:
    plain = config.endpoint.startswith("http://")
    if plain and not (config.ca or config.certificate or config.private_key):
        return None
    if plain or config.ca is None:
        raise ConfigError(f"tracing: {config.endpoint}: https goes with a ca, and a ca with https")
    return tls.channel_credentials(
        ChannelConfig(
            target=config.endpoint, ca=config.ca, certificate=config.certificate, private_key=config.private_key
        )
    )


class _Complaints(logging.Handler):
    """Logs what the SDK complains of once a minute: it says the same of each attempt."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._throttle = Throttle(burst=1, refill_seconds=60.0, capacity=1)

    def emit(self, record: logging.LogRecord) -> None:
        if not self._throttle.take("", time.monotonic()):
            _log.warning("traces are not exported", error=record.getMessage()[:_MAX_CHARACTERS])


def _bound_complaints() -> None:
    complaints = _Complaints()
    for name in ("opentelemetry.sdk", "opentelemetry.exporter"):
        logging.getLogger(name).handlers = [complaints]
    everything = logging.getLogger("opentelemetry")
    everything.handlers = [logging.NullHandler()]  # the rest is about headers, which strangers write
    everything.propagate = False
