import asyncio

import pytest

from mesh.single_flight import SingleFlight


class Work:
    """Waits until it may end; counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.may_end.wait()
        return number


class Broken(Exception):
    pass


async def give_way() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_while_the_work_goes_on_gets_the_same_result() -> None:
    flights, work = SingleFlight[str, int](), Work()
    asking = asyncio.gather(*(flights.do("a", work) for _ in range(10)))
    await give_way()
    work.may_end.set()
    assert await asking == [1] * 10
    assert await flights.do("a", work) == 2


async def test_other_keys_are_other_work() -> None:
    flights, work = SingleFlight[str, int](), Work()
    work.may_end.set()
    assert await asyncio.gather(flights.do("a", work), flights.do("b", work)) == [1, 2]


async def test_everybody_gets_the_error_and_the_next_one_tries_again() -> None:
    flights, may_end = SingleFlight[str, int](), asyncio.Event()

    async def fail() -> int:
        await may_end.wait()
        raise Broken

    asking = asyncio.gather(*(flights.do("a", fail) for _ in range(3)), return_exceptions=True)
    await give_way()
    may_end.set()
    assert [type(answer) for answer in await asking] == [Broken] * 3
    work = Work()
    work.may_end.set()
    assert await flights.do("a", work) == 1


@pytest.mark.parametrize("leaver", [0, 1])
async def test_a_caller_who_gives_up_does_not_take_the_result_away_from_the_others(leaver: int) -> None:
    flights, work = SingleFlight[str, int](), Work()
    callers = [asyncio.create_task(flights.do("a", work)) for _ in range(3)]
    await give_way()
    callers[leaver].cancel()
    await give_way()
    work.may_end.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results.pop(leaver), asyncio.CancelledError)
    assert results == [1, 1]


async def test_when_all_callers_have_gone_the_work_is_given_up_and_the_next_one_begins_anew() -> None:
    flights, work, given_up = SingleFlight[str, int](), Work(), asyncio.Event()

    async def slow_to_leave() -> int:
        try:
            return await work()
        finally:
            given_up.set()
            await give_way()

    callers = [asyncio.create_task(flights.do("a", slow_to_leave)) for _ in range(2)]
    await give_way()
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    next_one = asyncio.create_task(flights.do("a", work))
    await give_way()
    assert given_up.is_set()
    work.may_end.set()
    assert await next_one == 2


async def test_an_error_that_nobody_waits_for_any_more_makes_no_noise() -> None:
    complaints = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    flights, may_end = SingleFlight[str, int](), asyncio.Event()

    async def fail() -> int:
        await may_end.wait()
        raise Broken

    caller = asyncio.create_task(flights.do("a", fail))
    await give_way()
    caller.cancel()
    await give_way()
    may_end.set()
    await give_way()
    assert complaints == []
