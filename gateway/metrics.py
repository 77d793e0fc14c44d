"""What a gateway tells of itself, besides its calls: doors, limits, exchanges, revocations, restrictions."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.exchange_cache import ExchangeCache
from gateway.limits import Limits, Room
from gateway.restrictions_in_force import RestrictionsInForce
from gateway.revocations import RevocationWatch


class GatewayMetrics(Collector):
    """Reads what there is to tell at the time of asking.

    Args:
        cache: The exchanges.
        watch: The feed of revocations.
        limits: The limits of all doors together.
        rooms: The calls of each door, by its name.
        restrictions: What is taken away for now.

    """

    def __init__(
        self,
        cache: ExchangeCache,
        watch: RevocationWatch,
        limits: Limits,
        rooms: Mapping[str, Room],
        restrictions: RestrictionsInForce,
    ) -> None:
        self._cache = cache
        self._watch = watch
        self._limits = limits
        self._rooms = rooms
        self._restrictions = restrictions

    def collect(self) -> Iterator[Metric]:
        """Yield it all."""
        yield from self._exchanges()
        yield from self._revocations()
        yield from self._doors()
        yield from self._restricted()

    def _exchanges(self) -> Iterator[Metric]:
        cache = self._cache
        yield _gauge("sekisho_exchanges_kept", "Exchanges that may be used again.", len(cache))
        yield _gauge("sekisho_exchanges_kept_limit", "The most that are kept.", cache.capacity)
        yield _counter(
            "sekisho_exchange_lookups",
            "Looks for a kept exchange.",
            "result",
            {"hit": cache.hits, "miss": cache.misses},
        )

    def _revocations(self) -> Iterator[Metric]:
        watch = self._watch
        yield _gauge("sekisho_revocations_heard", "1 if the feed of revocations is heard.", float(watch.connected))
        yield _gauge("sekisho_revocations_silent_seconds", "How long ago it was heard last.", watch.silent_seconds)
        yield _gauge("sekisho_revocations_position", "How far it was heard.", self._cache.position or 0)

    def _doors(self) -> Iterator[Metric]:
        yield self._of_doors("sekisho_door_calls", "Calls under way.", lambda room: room.under_way)
        yield self._of_doors("sekisho_door_calls_limit", "The most calls at once.", lambda room: room.max_calls)
        anonymous = GaugeMetricFamily(
            "sekisho_door_stranger_calls", "Of these, calls that no client answers for.", labels=["listener", "kind"]
        )
        for door, room in self._rooms.items():
            for kind, some in room.anonymous.items():
                anonymous.add_metric([door, kind.name.lower()], sum(some.counts.values()))
        yield anonymous
        remembered = GaugeMetricFamily(
            "sekisho_limits_remembered", "Who is remembered for the rates of calls.", labels=["whose"]
        )
        for whose, throttle in (("address", self._limits.addresses), ("client", self._limits.clients)):
            remembered.add_metric([whose], len(throttle))
        yield remembered

    def _of_doors(self, name: str, documentation: str, read: Callable[[Room], int]) -> Metric:
        family = GaugeMetricFamily(name, documentation, labels=["listener"])
        for door, room in self._rooms.items():
            family.add_metric([door], read(room))
        return family

    def _restricted(self) -> Iterator[Metric]:
        found = self._restrictions
        yield _gauge("sekisho_restrictions", "The entries in force.", found.entries)
        yield _gauge("sekisho_restrictions_current", "1 if the file is in force as it is.", float(found.current))
        yield _gauge("sekisho_restrictions_since_timestamp_seconds", "When they came into force.", found.since)
        reloads = {"done": found.reloads_done, "failed": found.reloads_failed}
        yield _counter("sekisho_restrictions_reloads", "How often the file changed.", "result", reloads)
        yield _counter(
            "sekisho_restrictions_refused", "Calls that each restriction refused.", "restriction", found.refused
        )
        yield _counter(
            "sekisho_restrictions_would_refuse", "Calls that one on trial would.", "restriction", found.would_refuse
        )


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value)


def _counter(name: str, documentation: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
