"""How things are measured: pairs of samples in turn, and the median of what the pairs say."""

import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Sample: TypeAlias = Callable[[int], Awaitable["Cost"]]

_CPU_SCHED = 2  # of the kernel's clock ids: the time that a process ran, all its threads, in user and system mode


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: How many pairs.
        calls: How many calls a sample has, about.

    """

    rounds: int
    calls: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a sample took.

    Attributes:
        calls: How many calls, or other units of work, it had.
        cpu_seconds: How long the process under test ran meanwhile.
        seconds: How long it took by the clock.

    """

    calls: int
    cpu_seconds: float
    seconds: float

    @property
    def cpu_microseconds(self) -> float:
        """CPU time for each call."""
        return self.cpu_seconds / self.calls * 1e6

    @property
    def per_core_second(self) -> float:
        """Calls that a core does in a second, if it does nothing else."""
        return self.calls / self.cpu_seconds

    @property
    def per_second(self) -> float:
        """Calls in a second by the clock."""
        return self.calls / self.seconds


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some numbers, the least and the greatest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> "Spread":
        """Return the spread of at least one number."""
        listed = list(numbers)
        return cls(statistics.median(listed), min(listed), max(listed))


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        name: What was measured.
        unit: The unit of value and baseline.
        value: What Sekisho took.
        baseline: What the baseline took; None if there is none.
        ratio: Value by baseline, in each pair; None if there is no baseline.

    """

    name: str
    unit: str
    value: Spread
    baseline: Spread | None = None
    ratio: Spread | None = None


Pairs: TypeAlias = Sequence[tuple[Cost, Cost]]


async def measure_pairs(name: str, rounds: int, subject: Sample, baseline: Sample) -> Pairs:
    """Measure subject and baseline in turn, so that whatever else the machine does meets both alike.

    A first pair warms both up, and does not count. Each sample is told its number, from 0.
    """
    pairs: list[tuple[Cost, Cost]] = []
    for number in range(rounds + 1):
        say(f"{name}: pair {number} of {rounds}" if number else f"{name}: warming up")
        pairs.append((await subject(number), await baseline(number)))
    return pairs[1:]


def compare(name: str, unit: str, pairs: Pairs, figure: Callable[[Cost], float]) -> Row:
    """Return the row for one figure of measured pairs."""
    figures = [(figure(subject), figure(baseline)) for subject, baseline in pairs]
    return Row(
        name,
        unit,
        Spread.of(subject for subject, _ in figures),
        Spread.of(baseline for _, baseline in figures),
        Spread.of(subject / baseline for subject, baseline in figures),
    )


async def cost_of(pid: int, calls: int, work: Awaitable[None]) -> Cost:
    """Do work of some calls; return what it took of a process, which need not be this one."""
    cpu, start = cpu_seconds(pid), time.perf_counter()
    await work
    return Cost(calls, cpu_seconds(pid) - cpu, time.perf_counter() - start)


def cpu_seconds(pid: int) -> float:
    """Return how long a process has run so far; Linux keeps a clock of that for each, in nanoseconds."""
    return time.clock_gettime(~pid << 3 | _CPU_SCHED)


def say(progress: str) -> None:
    """Tell whoever waits what goes on."""
    print(progress, file=sys.stderr, flush=True)  # noqa: T201 - a command's progress
