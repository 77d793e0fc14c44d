import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from mesh.throttle import Throttle

KEYS = st.sampled_from(["a", "b", "c"])
PAUSES = st.floats(0, 30)
# Each step: who takes, and how long after the one before.
STEPS = st.lists(st.tuples(KEYS, PAUSES), max_size=80)
BURSTS = st.integers(1, 5)
REFILLS = st.floats(0.001, 20)


def timed(steps: list[tuple[str, float]]) -> list[tuple[str, float]]:
    times = itertools.accumulate(pause for _, pause in steps)
    return [(key, now) for (key, _), now in zip(steps, times, strict=True)]


@given(BURSTS, REFILLS, STEPS)
def test_nobody_has_more_than_the_burst_and_what_was_refilled(
    burst: int, refill: float, steps: list[tuple[str, float]]
) -> None:
    throttle = Throttle(burst, refill, capacity=10)
    taken: dict[str, list[float]] = {}
    for key, now in timed(steps):
        if not throttle.take(key, now):
            taken.setdefault(key, []).append(now)
    for times in taken.values():
        for (first, start), (last, end) in itertools.combinations(enumerate(times), 2):
            assert last - first + 1 <= burst + (end - start) / refill + 0.01


@given(BURSTS, REFILLS, STEPS)
@example(1, 1.0078125, [("a", 0.0), ("a", 0.0)])  # 0.0 + 1.007812 seconds are 1,007,811.99 microseconds
def test_whoever_waits_as_long_as_told_may_take_and_not_before(
    burst: int, refill: float, steps: list[tuple[str, float]]
) -> None:
    throttle = Throttle(burst, refill, capacity=10)
    for key, now in timed(steps):
        if wait := throttle.take(key, now):
            assert wait <= refill + 1e-6
            assert throttle.take(key, now + wait - 1.5e-6) > 0
            assert throttle.take(key, now + wait + 1e-6) == 0
            return


@given(BURSTS, REFILLS, PAUSES)
def test_the_whole_burst_is_there_at_once_and_again_when_the_bucket_is_full(
    burst: int, refill: float, start: float
) -> None:
    throttle = Throttle(burst, refill, capacity=10)
    for now in (start, start + burst * refill + 1e-5):
        waits = [throttle.take("a", now) for _ in range(burst + 1)]
        assert waits[:-1] == [0] * burst
        assert waits[-1] > 0


@given(BURSTS, REFILLS, STEPS)
def test_what_one_key_takes_is_nothing_to_another(burst: int, refill: float, steps: list[tuple[str, float]]) -> None:
    shared, own = Throttle(burst, refill, capacity=10), Throttle(burst, refill, capacity=10)
    for key, now in timed(steps):
        waited = shared.take(key, now)
        assert key != "a" or waited == own.take(key, now)


def test_a_time_that_goes_back_gives_nothing() -> None:
    throttle = Throttle(1, 6, capacity=10)
    assert [throttle.take("a", now) for now in (100, 100, 50)] == [0, 6, 56]


def test_the_least_recently_used_are_forgotten_first() -> None:
    throttle = Throttle(1, 1000, capacity=2)
    assert [throttle.take(key, 0) for key in ("a", "b")] == [0, 0]
    assert throttle.take("a", 0) > 0  # a refusal is a use
    assert throttle.take("c", 0) == 0  # in place of b
    assert throttle.take("a", 0) > 0
    assert throttle.take("b", 0) == 0


class Key:
    """A key that counts how many of its kind are alive."""

    alive = 0

    def __init__(self) -> None:
        Key.alive += 1

    def __del__(self) -> None:
        Key.alive -= 1


def test_of_many_keys_no_more_are_remembered_than_the_capacity() -> None:
    throttle = Throttle(10, 6, capacity=1000)
    for number in range(100_000):
        throttle.take(Key(), number / 1000)
    assert Key.alive == 1000
