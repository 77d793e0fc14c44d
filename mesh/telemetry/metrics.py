"""What a process tells of itself to whoever watches it, in Prometheus's text format."""

from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mesh.calls.call_record import CallRecord, Observer
from mesh.http_server import HttpServer
from mesh.security.tls import CertificateExpiry
from mesh.telemetry.logging import lost_lines

# Upper bounds of latencies, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# The label of methods that nobody serves: callers think of names without end.
OTHER = "other"
# The label of what a call does not have, such as a client.
NONE = "none"

_MAX_CONNECTIONS = 16
_REQUEST_SECONDS = 5.0
_DRAIN_SECONDS = 1.0


class Metrics:
    """The metrics of one process.

    Args:
        listen: Where they are read, `host:port`, by plain HTTP; None if nobody watches, and nothing is counted.
        methods: The paths of the methods that the process serves.

    """

    def __init__(self, listen: str | None, methods: Iterable[str]) -> None:
        self._listen = listen
        self._calls = CallMetrics(methods)

    @property
    def observers(self) -> Sequence[Observer]:
        """Whom servers are to tell of calls."""
        return (self._calls.observe,) if self._listen else ()

    def add(self, methods: Iterable[str]) -> None:
        """Tell of more methods by their names."""
        self._calls.add(methods)

    @asynccontextmanager
    async def served(self, *collectors: Collector) -> AsyncIterator[None]:
        """Answer `GET /metrics` as long as the context lasts.

        Args:
            collectors: What there is to tell besides calls, memory, processor time and files.

        Raises:
            ConfigError: If the address can't be listened on.

        """
        if not self._listen:
            yield
            return
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        for collector in (self._calls, CertificateExpiry(), LostLines(), *collectors):
            registry.register(collector)

        async def answer(_request: Request) -> Response:
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

        server = HttpServer(
            Starlette(routes=[Route("/metrics", answer, methods=["GET"])]),
            self._listen,
            tls=None,
            max_connections=_MAX_CONNECTIONS,
            request_seconds=_REQUEST_SECONDS,
            drain_seconds=_DRAIN_SECONDS,
        )
        await server.start()
        try:
            yield
        finally:
            await server.stop()


class LostLines(Collector):
    """Tells what is missing in the log."""

    def collect(self) -> Iterator[Metric]:
        """Yield the count."""
        yield CounterMetricFamily("sekisho_log_lines_lost", "Lines that could not be written.", lost_lines())


class CallMetrics(Collector):
    """Counts calls, in plain numbers: what Prometheus needs is made of them when it asks.

    Args:
        methods: The paths of the methods that have a label of their own.

    """

    def __init__(self, methods: Iterable[str]) -> None:
        self._methods = {OTHER: _Calls()}
        self.add(methods)

    def add(self, methods: Iterable[str]) -> None:
        """Give more methods a label of their own."""
        self._methods.update((method, _Calls()) for method in methods)

    def observe(self, record: CallRecord) -> None:
        """Count a call that has ended."""
        calls = self._methods.get(record.method) or self._methods[OTHER]
        calls.ended[record.client_type or NONE, record.decision or NONE, record.status] += 1
        calls.seconds.observe(record.seconds)
        if record.backend_seconds:
            calls.backend_seconds.observe(record.backend_seconds)
        if record.exchange_seconds:
            calls.exchange_seconds.observe(record.exchange_seconds)
        if record.reason:
            calls.refused[record.reason] += 1
        calls.messages[0] += record.request_messages
        calls.messages[1] += record.response_messages
        calls.bytes[0] += record.request_bytes
        calls.bytes[1] += record.response_bytes

    def collect(self) -> Iterator[Metric]:
        """Yield the counts, of the methods that were called."""
        called = {method: calls for method, calls in self._methods.items() if calls.ended}
        ended = CounterMetricFamily(
            "sekisho_calls", "Calls that have ended.", labels=["method", "client_type", "decision", "status"]
        )
        refused = CounterMetricFamily(
            "sekisho_refusals", "Calls that Sekisho itself refused.", labels=["method", "reason"]
        )
        messages = CounterMetricFamily(
            "sekisho_messages", "Messages that were handed on.", labels=["method", "direction"]
        )
        sizes = CounterMetricFamily("sekisho_message_bytes", "Their bytes.", labels=["method", "direction"])
        for method, calls in called.items():
            for labels, count in calls.ended.items():
                ended.add_metric([method, *map(str, labels)], count)
            for reason, count in calls.refused.items():
                refused.add_metric([method, reason], count)
            for number, direction in enumerate(("request", "response")):
                messages.add_metric([method, direction], calls.messages[number])
                sizes.add_metric([method, direction], calls.bytes[number])
        yield from (ended, refused, messages, sizes)
        yield _histogram(
            "sekisho_call_seconds", "How long calls took.", {method: calls.seconds for method, calls in called.items()}
        )
        yield _histogram(
            "sekisho_backend_seconds",
            "How long the backend had them.",
            {method: calls.backend_seconds for method, calls in called.items()},
        )
        yield _histogram(
            "sekisho_exchange_seconds",
            "How long calls waited for their token's exchange, if it was not kept.",
            {method: calls.exchange_seconds for method, calls in called.items()},
        )


class _Latencies:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return each upper bound with how many were not above it."""
        so_far, found = 0, list[tuple[str, float]]()
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            so_far += count
            found.append((bound, so_far))
        return found


class _Calls:
    """The calls of one method."""

    __slots__ = ("backend_seconds", "bytes", "ended", "exchange_seconds", "messages", "refused", "seconds")

    def __init__(self) -> None:
        self.ended = Counter[tuple[str, str, str]]()
        self.refused = Counter[str]()
        self.seconds, self.backend_seconds, self.exchange_seconds = _Latencies(), _Latencies(), _Latencies()
        self.messages, self.bytes = [0, 0], [0, 0]


def _histogram(name: str, documentation: str, latencies: dict[str, _Latencies]) -> Metric:
    family = HistogramMetricFamily(name, documentation, labels=["method"])
    for method, each in latencies.items():
        if any(each.counts):
            family.add_metric([method], each.buckets(), each.total)
    return family
