import pytest

from authserver.keys.schedule import (
    KeyState,
    KeyTimes,
    Pace,
    active_key,
    due_activation,
    is_to_be_destroyed,
    newest_live,
    retired,
    state_of,
    succeeded,
)

PACE = Pace(period_ms=1000, announce_ms=100, overlap_ms=50)
DAY_MS = 24 * 3600 * 1000

FIRST = KeyTimes(1, 0, 1050)
SECOND = KeyTimes(2, 1000)
BOTH = [FIRST, SECOND]


@pytest.mark.parametrize(
    ("now", "first", "second"),
    [
        (0, KeyState.ACTIVE, KeyState.ANNOUNCED),
        (999, KeyState.ACTIVE, KeyState.ANNOUNCED),
        (1000, KeyState.RETIRING, KeyState.ACTIVE),
        (1049, KeyState.RETIRING, KeyState.ACTIVE),
        (1050, KeyState.RETIRED, KeyState.ACTIVE),
        (10_000, KeyState.RETIRED, KeyState.ACTIVE),
    ],
)
def test_keys_follow_each_other_by_the_clock(now: int, first: KeyState, second: KeyState) -> None:
    assert [state_of(key, BOTH, now) for key in BOTH] == [first, second]
    assert [state_of(key, BOTH[::-1], now) for key in BOTH] == [first, second]


def test_without_keys_none_is_in_use() -> None:
    assert active_key([], 0) is None
    assert active_key([KeyTimes(1, 0, 10)], 10) is None


def test_where_the_clock_is_behind_the_key_that_took_over_is_used_early_rather_than_none() -> None:
    assert active_key([KeyTimes(1, 0, 900), SECOND, KeyTimes(3, 2000)], 990) == SECOND


def test_of_keys_that_came_into_use_at_once_the_later_one_is_used() -> None:
    assert active_key([KeyTimes(2, 5), KeyTimes(1, 5)], 5) == KeyTimes(2, 5)


def test_the_first_key_is_used_at_once() -> None:
    assert due_activation([], PACE, 7) == 7
    assert due_activation([KeyTimes(1, 0, 7)], PACE, 7) == 7


@pytest.mark.parametrize(
    ("now", "activation"),
    [(0, None), (899, None), (900, 1000), (950, 1050), (5000, 5100)],
)
def test_a_successor_is_announced_in_time_and_if_that_was_missed_for_as_long(now: int, activation: int | None) -> None:
    assert due_activation([KeyTimes(1, 0)], PACE, now) == activation


def test_no_further_key_is_announced_while_one_is() -> None:
    assert due_activation(BOTH, PACE, 950) is None
    assert due_activation(BOTH, PACE, 1899) is None
    assert due_activation(BOTH, PACE, 1900) == 2000


def test_a_predecessor_retires_when_its_last_token_has_expired() -> None:
    assert succeeded([KeyTimes(1, 0)], 1000, PACE, 900) == [FIRST]


def test_a_retirement_is_never_put_off() -> None:
    assert succeeded([KeyTimes(1, 0, 500), KeyTimes(2, 400)], 1000, PACE, 450) == [KeyTimes(2, 400, 1050)]
    assert succeeded([KeyTimes(1, 0, 500)], 1000, PACE, 600) == []


def test_a_successor_that_comes_early_brings_the_retirement_forward() -> None:
    assert succeeded([FIRST], 920, PACE, 910) == [KeyTimes(1, 0, 970)]


def test_a_key_that_comes_later_is_no_predecessor() -> None:
    assert succeeded([KeyTimes(1, 0), KeyTimes(3, 2000)], 1000, PACE, 900) == [FIRST]


def test_a_retired_key_is_good_for_nothing_from_that_moment() -> None:
    (changed,) = retired(BOTH, FIRST, 1010)
    assert changed == KeyTimes(1, 0, 1010)
    assert not changed.is_live(1010)


def test_when_an_announced_key_is_retired_the_one_in_use_goes_on() -> None:
    assert retired(BOTH, SECOND, 950) == [KeyTimes(2, 1000, 950), KeyTimes(1, 0, None)]
    assert newest_live([KeyTimes(2, 1000, 950), KeyTimes(1, 0, None)], 950) == KeyTimes(1, 0)


def test_a_key_is_destroyed_a_day_after_its_retirement() -> None:
    assert not is_to_be_destroyed(SECOND, 10**15)
    assert not is_to_be_destroyed(FIRST, 1050 + DAY_MS - 1)
    assert is_to_be_destroyed(FIRST, 1050 + DAY_MS)
