"""What happens at the same time: on PostgreSQL transactions really meet, and are made to; on SQLite they queue."""

import asyncio
import itertools
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, event

from mesh.ids import new_id
from payments.applications import submit_application
from payments.change_payment import cancel_payment, capture_payment, refund_payment
from payments.create_payment import NewPayment, create_payment
from payments.once import IdentifiedRequest, once
from payments.payment_states import Payment
from payments.servicers.messages import application_message, payment_message, wallet_message
from payments.store.ledger import balances_of_partner
from payments.wallets import open_wallet, top_up_wallet
from sekisho.payments.v1 import partner_application_pb2, wallet_service_pb2
from sekisho.payments.v1 import partner_application_service_pb2 as application_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from tests.unit.payments.payments_world import MERCHANT, NOW, World, yen

PATIENCE_SECONDS = 60.0
REQUEST_ID = "request-1"


class Meeting:
    """Holds two transactions until both have come; whoever comes later passes."""

    def __init__(self, world: World) -> None:
        self._barrier = threading.Barrier(2 if world.database.engine.name == "postgresql" else 1)
        self._arrivals = itertools.count()

    def wait(self) -> None:
        if next(self._arrivals) < self._barrier.parties:
            self._barrier.wait(PATIENCE_SECONDS)


Answer = wallet_service_pb2.Wallet | payment_pb.Payment | partner_application_pb2.PartnerApplication
Step = tuple[IdentifiedRequest, type[Answer], Callable[[Connection], Answer]]


def submit(_world: World) -> Step:
    def effect(connection: Connection) -> Answer:
        return application_message(submit_application(connection, "plt_shops", MERCHANT, now=NOW, new_id=new_id))

    request = application_pb.SubmitPartnerApplicationRequest(request_id=REQUEST_ID)
    return request, partner_application_pb2.PartnerApplication, effect


def open_a_wallet(_world: World) -> Step:
    def effect(connection: Connection) -> Answer:
        return wallet_message(open_wallet(connection, "JPY", now=NOW, new_id=new_id))

    return wallet_service_pb2.OpenWalletRequest(request_id=REQUEST_ID), wallet_service_pb2.Wallet, effect


def top_up(world: World) -> Step:
    def effect(connection: Connection) -> Answer:
        return wallet_message(top_up_wallet(connection, world.wallet_id, yen(1), now=NOW, new_id=new_id))

    return wallet_service_pb2.TopUpWalletRequest(request_id=REQUEST_ID), wallet_service_pb2.Wallet, effect


def create(world: World) -> Step:
    asked = NewPayment(world.partner_id, world.code(), yen(6_000), capture=False, description="", fee_basis_points=250)

    def effect(connection: Connection) -> Answer:
        return payment_message(create_payment(connection, asked, now=NOW, new_id=new_id))

    return payment_pb.CreatePaymentRequest(request_id=REQUEST_ID), payment_pb.Payment, effect


def capture(world: World) -> Step:
    key = (world.partner_id, world.create(yen(100)).payment_id)

    def effect(connection: Connection) -> Answer:
        return payment_message(capture_payment(connection, *key, yen(60), now=NOW, new_id=new_id))

    return payment_pb.CapturePaymentRequest(request_id=REQUEST_ID), payment_pb.Payment, effect


def cancel(world: World) -> Step:
    key = (world.partner_id, world.create(yen(100)).payment_id)

    def effect(connection: Connection) -> Answer:
        return payment_message(cancel_payment(connection, *key, now=NOW, new_id=new_id))

    return payment_pb.CancelPaymentRequest(request_id=REQUEST_ID), payment_pb.Payment, effect


def refund(world: World, part: int | None = None) -> Step:
    key = (world.partner_id, world.create(yen(100), capture=True).payment_id)

    def effect(connection: Connection) -> Answer:
        amount = None if part is None else yen(part)
        return payment_message(refund_payment(connection, *key, amount, now=NOW, new_id=new_id))

    return payment_pb.RefundPaymentRequest(request_id=REQUEST_ID), payment_pb.Payment, effect


def refund_in_part(world: World) -> Step:
    return refund(world, 40)


@pytest.mark.parametrize(
    "prepare",
    [submit, open_a_wallet, top_up, create, capture, cancel, refund, refund_in_part],
    ids=lambda step: step.__name__,
)
async def test_a_request_that_is_sent_twice_at_once_has_one_effect_and_one_answer(
    world: World, prepare: Callable[[World], Step]
) -> None:
    request, answer, effect = prepare(world)
    before = {table: len(rows) for table, rows in world.everything().items()}
    meeting, effects = Meeting(world), list[bytes]()

    def meet(connection: Connection) -> Answer:
        meeting.wait()  # neither has found the other's answer by now
        made = effect(connection)
        effects.append(made.SerializeToString())
        return made

    sent = (once(world.database, world.partner_id, request, answer, meet) for _ in range(2))
    first, second = await asyncio.gather(*sent)
    assert first == second
    assert first.SerializeToString() in effects
    grown = {table: len(rows) - before[table] for table, rows in world.everything().items()}
    assert grown["idempotency_keys"] == 1
    assert (grown["partner_applications"], grown["wallets"], grown["payments"]) == (
        int(prepare is submit),
        int(prepare is open_a_wallet),
        int(prepare is create),
    )
    moves_money = prepare not in {submit, open_a_wallet}
    assert grown["ledger_transactions"] == int(moves_money)
    assert grown["payment_events"] == int(moves_money and prepare is not top_up)
    assert world.findings() == []


async def test_two_first_payments_to_a_partner_at_once_open_its_accounts_once(world: World) -> None:
    meeting, codes = Meeting(world), [world.code(), world.code()]
    # Different wallets, so that nothing but the partner's new accounts is in common.
    world.wallet_id = world.run(lambda connection: open_wallet(connection, "JPY", now=NOW, new_id=new_id)).wallet_id
    world.top_up(10_000)
    codes[1] = world.code()

    def before_execute(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO ledger_accounts"):
            meeting.wait()

    def pay(code: str) -> Callable[[Connection], Payment]:
        asked = NewPayment(world.partner_id, code, yen(1_000), capture=True, description="", fee_basis_points=250)
        return lambda connection: create_payment(connection, asked, now=NOW, new_id=new_id)

    event.listen(world.database.engine, "before_cursor_execute", before_execute)
    await asyncio.gather(*(world.database.run(pay(code)) for code in codes))
    assert list(world.run(lambda connection: balances_of_partner(connection, world.partner_id))) == [yen(1_950)]
    assert world.findings() == []
    assert len(world.everything()["payment_events"]) == 2


async def test_payments_from_one_wallet_at_once_never_spend_more_than_is_in_it(world: World) -> None:
    codes = [world.code() for _ in range(8)]

    def pay(code: str) -> Callable[[Connection], Payment]:
        asked = NewPayment(world.partner_id, code, yen(3_000), capture=True, description="", fee_basis_points=0)
        return lambda connection: create_payment(connection, asked, now=NOW, new_id=new_id)

    paying = (world.database.run(pay(code)) for code in codes)
    outcomes = await asyncio.gather(*paying, return_exceptions=True)
    assert sum(isinstance(outcome, Payment) for outcome in outcomes) == 3
    assert {type(outcome).__name__ for outcome in outcomes} == {"Payment", "InsufficientFunds"}
    assert world.available() == 1_000
    assert world.findings() == []
