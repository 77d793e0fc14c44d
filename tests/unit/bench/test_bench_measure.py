import asyncio
import os
import re

import pytest

from bench.measure import Cost, Row, Sample, Spread, compare, cost_of, measure_pairs
from bench.table import table


def sampled(costs: list[float], order: list[str], name: str) -> Sample:
    async def sample(number: int) -> Cost:
        order.append(f"{name}{number}")
        return Cost(calls=10, cpu_seconds=costs[number] * 10e-6, seconds=1.0)

    return sample


async def test_subject_and_baseline_are_measured_in_turn_and_the_first_pair_does_not_count() -> None:
    order: list[str] = []
    subject, baseline = sampled([999, 20, 60, 10], order, "a"), sampled([1, 10, 20, 10], order, "b")
    pairs = await measure_pairs("test", 3, subject, baseline)
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"]
    row = compare("test", "µs", pairs, lambda cost: cost.cpu_microseconds)
    assert row.value.median == pytest.approx(20)
    assert row.baseline is not None
    assert row.baseline.median == pytest.approx(10)
    assert row.ratio == Spread(pytest.approx(2), pytest.approx(1), pytest.approx(3))


async def test_the_cost_of_work_is_what_the_process_ran_not_what_it_waited() -> None:
    async def work() -> None:
        await asyncio.to_thread(sum, range(3_000_000))
        woken = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, woken.set)
        await woken.wait()

    cost = await cost_of(os.getpid(), 100, work())
    assert 0.005 < cost.cpu_seconds < cost.seconds - 0.2
    assert cost.per_second == pytest.approx(100 / cost.seconds)
    assert cost.per_core_second == pytest.approx(1e6 / cost.cpu_microseconds)


def test_the_table_shows_medians_with_their_spread() -> None:
    rows = [
        Row("a.name", "µs", Spread(1234.5, 1000, 2000), Spread(12.34, 1, 100), Spread(1.004, 0.5, 2)),
        Row("b", "s", Spread(0.0352, 0.019, 0.0577)),
    ]
    lines = [[cell.strip() for cell in re.split(r"  +", line)] for line in table(rows).splitlines()]
    assert lines == [
        ["", "unit", "Sekisho", "baseline", "ratio"],
        ["a.name", "µs", "1,234 (1,000-2,000)", "12.3 (1-100)", "1 (0.5-2)"],
        ["b", "s", "0.0352 (0.019-0.0577)", "-", "-"],
    ]
