from hypothesis import given
from hypothesis import strategies as st

from mesh.timestamps import timestamp, to_ms


@given(st.integers(0, 4_102_444_800_000))
def test_milliseconds_survive_the_way_over_the_wire_and_back(milliseconds: int) -> None:
    message = timestamp(milliseconds)
    assert message is not None
    assert to_ms(message.seconds + message.nanos / 1e9) == milliseconds


def test_no_time_stays_none() -> None:
    assert timestamp(None) is None


def test_seconds_are_rounded_to_milliseconds() -> None:
    assert to_ms(1.0004) == 1000
    assert to_ms(1.0006) == 1001
