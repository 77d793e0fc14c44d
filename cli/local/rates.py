"""What a mesh did between two looks at its metrics."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

# What the counts are kept by: the metric's name, and its labels.
Sample: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
Samples: TypeAlias = Mapping[Sample, float]
_Rates: TypeAlias = defaultdict[str, float]


@dataclass(frozen=True, slots=True)
class MethodRate:
    """The calls of one method at one process, over an interval.

    Attributes:
        process: Who served them.
        method: Its path.
        per_second: How many there were.
        failed_per_second: How many of them did not end with OK.
        p50_milliseconds: How long half of them took at most; None if there were none.
        p99_milliseconds: How long all but one in a hundred took at most.

    """

    process: str
    method: str
    per_second: float
    failed_per_second: float
    p50_milliseconds: float | None
    p99_milliseconds: float | None


@dataclass(frozen=True, slots=True)
class View:
    """What happened in an interval.

    Attributes:
        seconds: How long it was.
        methods: The methods that were called, the busiest first.
        refusals: Refusals per second by reason.
        client_types: Calls per second at the gateway, by the type of client.
        doors: Calls under way at the gateway, by door.
        revocations_heard: Whether all gateways hear what is revoked.
        silent: The processes that told nothing.

    """

    seconds: float
    methods: Sequence[MethodRate]
    refusals: Mapping[str, float]
    client_types: Mapping[str, float]
    doors: Mapping[str, float]
    revocations_heard: bool
    silent: Sequence[str]


def samples(families: Any) -> Samples:  # noqa: ANN401 - an iterable of metrics; the parser is not typed
    """Return all numbers of some metrics."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def compare(before: Mapping[str, Samples | None], after: Mapping[str, Samples | None], seconds: float) -> View:
    """Return what happened between two looks at the same processes."""
    methods, refusals, types, doors = list[MethodRate](), _Rates(float), _Rates(float), _Rates(float)
    heard = True
    for process, now in after.items():
        was = before.get(process)
        if now is None or was is None:
            continue
        grown = {key: value - was.get(key, 0.0) for key, value in now.items()}
        methods += _methods(process, grown, seconds)
        for (name, labels), growth in grown.items():
            if name == "sekisho_refusals_total" and growth:
                refusals[dict(labels)["reason"]] += growth / seconds
            if name == "sekisho_calls_total" and process.startswith("gateway") and growth:
                types[dict(labels)["client_type"]] += growth / seconds
        for (name, labels), value in now.items():
            if name == "sekisho_door_calls":
                doors[dict(labels)["listener"]] += value
            if name == "sekisho_revocations_heard":
                heard = heard and bool(value)
    methods.sort(key=lambda each: -each.per_second)
    silent = [process for process, now in after.items() if now is None]
    return View(seconds, methods, _falling(refusals), _falling(types), dict(doors), heard, silent)


def _methods(process: str, grown: Samples, seconds: float) -> list[MethodRate]:
    calls, failed = _Rates(float), _Rates(float)
    buckets: dict[str, dict[float, float]] = {}
    for (name, labels), growth in grown.items():
        label = dict(labels)
        if name == "sekisho_calls_total":
            calls[label["method"]] += growth
            if label["status"] != "OK" and not label["status"].startswith("2"):  # the latter, by HTTP
                failed[label["method"]] += growth
        elif name == "sekisho_call_seconds_bucket":
            buckets.setdefault(label["method"], {})[float(label["le"])] = growth
    return [
        MethodRate(
            process,
            method,
            count / seconds,
            failed[method] / seconds,
            quantile(buckets.get(method, {}), 0.5),
            quantile(buckets.get(method, {}), 0.99),
        )
        for method, count in calls.items()
        if count
    ]


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return the milliseconds that a share of calls took at most, as far as buckets can tell.

    Args:
        buckets: How many calls took at most so many seconds, by these seconds.
        share: From 0 to 1.

    """
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    wanted, lower, below = share * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            if bound == float("inf"):
                return lower * 1000  # it took longer; how much is unknown
            inside = buckets[bound] - below
            return (lower + (bound - lower) * ((wanted - below) / inside if inside else 1.0)) * 1000
        lower, below = bound, buckets[bound]
    return None


def _falling(rates: Mapping[str, float]) -> Mapping[str, float]:
    return dict(sorted(rates.items(), key=lambda each: -each[1]))
