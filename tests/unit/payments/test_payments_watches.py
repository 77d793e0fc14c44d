import asyncio
import math
from contextlib import ExitStack

import pytest

from mesh.errors import Code, ServerStopping
from payments.watches import TooManyWatches, Watch, Watches
from tests.unit.payments.payments_world import World, yen

MAX = 30


@pytest.fixture
def watches(world: World) -> Watches:
    return Watches(world.database, MAX)


async def has_news(watch: Watch) -> bool:
    """Return whether there is something for the watch now, and take it."""
    return await watch.news(until=0.0)


async def test_a_new_watch_reads_at_once_and_then_when_it_is_woken(watches: Watches) -> None:
    with watches.open("ptn_1", 0) as one, watches.open("ptn_1", 0) as too, watches.open("ptn_2", 0) as other:
        assert [await has_news(watch) for watch in (one, too, other)] == [True, True, True]
        assert [await has_news(watch) for watch in (one, too, other)] == [False, False, False]
        watches.wake("ptn_1")
        watches.wake("ptn_none")
        assert [await has_news(watch) for watch in (one, too, other)] == [True, True, False]


async def test_a_look_wakes_those_who_have_not_been_sent_all_there_is(world: World, watches: Watches) -> None:
    world.create(yen(1))
    await watches.look()
    with watches.open(world.partner_id, 0) as behind, watches.open(world.partner_id, 1) as level:
        assert [await has_news(watch) for watch in (behind, level)] == [True, True]
        await watches.look()
        assert [await has_news(watch) for watch in (behind, level)] == [True, False]


def test_nothing_is_kept_of_watches_that_ended(watches: Watches) -> None:
    def fail() -> None:
        with watches.open("ptn_1", 0), watches.open("ptn_1", 0), watches.open("ptn_2", 0):
            assert len(watches) == 3
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(watches) == 0
    assert watches._watches == {}  # noqa: SLF001 - what would grow with every partner that ever watched


def test_a_partner_may_watch_twenty_times_at_once(watches: Watches) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(watches.open("ptn_1", 0))
        with pytest.raises(TooManyWatches) as caught, watches.open("ptn_1", 0):
            pass
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        with watches.open("ptn_2", 0):
            assert len(watches) == 21
    with watches.open("ptn_1", 0):
        assert len(watches) == 1


def test_all_partners_together_leave_room_for_other_calls(watches: Watches) -> None:
    with ExitStack() as stack:
        for number in range(MAX):
            stack.enter_context(watches.open(f"ptn_{number}", 0))
        with pytest.raises(TooManyWatches), watches.open("ptn_new", 0):
            pass
        assert len(watches) == MAX
    assert watches._watches == {}  # noqa: SLF001 - as above


async def test_a_server_that_stops_ends_its_watches_and_takes_no_new_ones(watches: Watches) -> None:
    with watches.open("ptn_1", 0) as idle, watches.open("ptn_2", 0) as unread:
        assert await has_news(idle)
        waiting = asyncio.create_task(idle.news(until=math.inf))
        await asyncio.sleep(0)
        watches.stop()
        for ended in (waiting, unread.news(until=math.inf)):
            with pytest.raises(ServerStopping):
                await ended
    with pytest.raises(ServerStopping), watches.open("ptn_1", 0):
        pass
