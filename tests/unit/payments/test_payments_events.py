import asyncio
from functools import partial

import pytest
from sqlalchemy import Connection

from mesh.ids import new_id
from payments.change_payment import capture_payment
from payments.create_payment import NewPayment, create_payment
from payments.payment_states import AmountTooLarge, Payment, PaymentStateConflict
from payments.store.events import PaymentEvent, count_events, list_events
from tests.unit.payments.payments_world import NOW, World, yen


def events(world: World, after: int = 0, limit: int = 100, partner_id: str = "") -> list[PaymentEvent]:
    return list(
        world.database.read_here(
            lambda connection: list_events(connection, partner_id or world.partner_id, after, limit)
        )
    )


def numbered(*payments: Payment) -> list[PaymentEvent]:
    return [PaymentEvent(number, payment) for number, payment in enumerate(payments, 1)]


def test_each_change_of_a_payment_is_an_event_that_shows_it_as_it_was_then(world: World) -> None:
    held = world.create(yen(1_000))
    captured = world.capture(held, yen(800))
    other = world.create(yen(500), capture=True)
    in_part = world.refund(captured, yen(300))
    refunded = world.refund(in_part)
    short = world.create(yen(7))
    canceled = world.cancel(short)
    assert events(world) == numbered(held, captured, other, in_part, refunded, short, canceled)


def test_what_is_refused_is_no_event_and_takes_no_number(world: World) -> None:
    payment = world.create(yen(10))
    world.assert_refused(AmountTooLarge, lambda: world.capture(payment, yen(11)))
    canceled = world.cancel(payment)
    world.assert_refused(PaymentStateConflict, lambda: world.capture(payment))
    assert events(world) == numbered(payment, canceled)


def test_a_change_that_is_rolled_back_takes_no_number(world: World) -> None:
    payment = world.create(yen(10))

    def work(connection: Connection) -> None:
        capture_payment(connection, world.partner_id, payment.payment_id, None, now=NOW, new_id=new_id)
        raise KeyError

    with pytest.raises(KeyError):
        world.run(work)
    assert events(world) == numbered(payment)
    assert numbered(payment, world.cancel(payment)) == events(world)


def test_events_are_read_on_from_a_number_and_no_more_than_asked_for(world: World) -> None:
    made = numbered(*(world.create(yen(1)) for _ in range(5)))
    assert events(world, after=0, limit=2) == made[:2]
    assert events(world, after=2, limit=2) == made[2:4]
    assert events(world, after=4, limit=2) == made[4:]
    assert events(world, after=5) == []


def test_partners_have_events_and_numbers_of_their_own(world: World) -> None:
    one, other = world.partner_id, world.new_partner()
    first = world.create(yen(1))
    world.partner_id = other
    second = world.create(yen(2))
    assert events(world, partner_id=one) == numbered(first)
    assert events(world, partner_id=other) == numbered(second)
    counts = world.run(lambda connection: count_events(connection, [one, other, "ptn_none"]))
    assert counts == {one: 1, other: 1}


async def test_numbers_of_concurrent_changes_have_no_gaps_and_appear_in_order(world: World) -> None:
    """A reader that goes on from the last number it saw misses nothing, however commits fall."""
    made, rounds = 4, 10
    for _ in range(10):
        world.top_up(10_000)
    codes = [[world.code() for _ in range(rounds)] for _ in range(made)]
    seen = list[PaymentEvent]()

    async def write(mine: list[str]) -> None:
        for code in mine:
            asked = NewPayment(world.partner_id, code, yen(1), capture=False, description="", fee_basis_points=0)
            await world.database.run(partial(create_payment, asked=asked, now=NOW, new_id=new_id))

    async def read() -> None:
        last_look = False
        while not last_look:
            last_look = all(writing.done() for writing in writings)
            new = partial(list_events, partner_id=world.partner_id, after=len(seen), limit=100)
            seen.extend(await world.database.read(new))

    async with asyncio.TaskGroup() as tasks:
        writings = [tasks.create_task(write(mine)) for mine in codes]
        tasks.create_task(read())
    assert [event.sequence for event in seen] == list(range(1, made * rounds + 1))
    assert seen == events(world)
    assert world.findings() == []
