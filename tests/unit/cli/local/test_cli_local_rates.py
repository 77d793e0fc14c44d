"""Rates and latencies between two looks at metrics."""

import pytest

from cli.local.rates import Samples, compare, quantile

INF = float("inf")
METHOD = "/a.B/C"


def calls(count: float, status: str = "OK") -> Samples:
    labels = {"method": METHOD, "client_type": "PARTNER", "decision": "allowed", "status": status}
    return {("sekisho_calls_total", frozenset(labels.items())): count}


@pytest.mark.parametrize(
    ("buckets", "share", "milliseconds"),
    [
        ({0.01: 0, 0.1: 100, INF: 100}, 0.5, 55.0),
        ({0.01: 50, 0.1: 100, INF: 100}, 0.5, 10.0),
        ({0.01: 0, 0.1: 0, INF: 10}, 0.99, 100.0),
        ({0.01: 0, INF: 0}, 0.5, None),
        ({}, 0.5, None),
    ],
)
def test_a_quantile_is_found_within_its_bucket(
    buckets: dict[float, float], share: float, milliseconds: float | None
) -> None:
    found = quantile(buckets, share)
    assert found == (None if milliseconds is None else pytest.approx(milliseconds))


def test_rates_are_of_what_has_come_since() -> None:
    before = {"gateway": {**calls(10), **calls(1, "INTERNAL"), **calls(0, "201"), **calls(0, "503")}}
    after = {"gateway": {**calls(30), **calls(3, "INTERNAL"), **calls(2, "201"), **calls(4, "503")}}
    view = compare(before, after, 2.0)
    (method,) = view.methods
    assert (method.method, method.per_second, method.failed_per_second) == (METHOD, 14.0, 3.0)
    assert view.client_types == {"PARTNER": 14.0}


def test_a_process_that_tells_nothing_is_named() -> None:
    view = compare({"gateway": calls(1), "payments": None}, {"gateway": None, "payments": calls(1)}, 1.0)
    assert (view.methods, view.silent) == ([], ["gateway"])
