from hypothesis import given
from hypothesis import strategies as st

from shops.backoff import Backoff

ATTEMPTS = st.integers(min_value=1, max_value=10**9)


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first_seconds=0.5, max_seconds=3.0)
    assert [backoff.pause_seconds(attempts) for attempts in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]


@given(ATTEMPTS, st.floats(min_value=0.001, max_value=60), st.floats(min_value=0.001, max_value=3600))
def test_pauses_never_shrink_and_never_exceed_the_longest(attempts: int, first: float, most: float) -> None:
    backoff = Backoff(first, most)
    assert 0 < backoff.pause_seconds(attempts) <= backoff.pause_seconds(attempts + 1) <= most
