"""Any sequence of top-ups and payments, against a model that keeps a few numbers; on both databases."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, text

from mesh.errors import ServiceError
from mesh.ids import new_id
from mesh.storage.database import Database
from mesh.storage.idempotency import RequestIdReused
from payments.change_payment import cancel_payment, capture_payment, refund_payment
from payments.create_payment import NewPayment, create_payment
from payments.ledger import InsufficientFunds
from payments.once import IdentifiedRequest, once
from payments.payment_codes import PaymentCodeUsed
from payments.payment_states import AmountTooLarge, Payment, PaymentNotFound, PaymentStateConflict
from payments.servicers.messages import payment_message, wallet_message
from payments.store.events import list_events
from payments.store.ledger import trial_balance
from payments.wallets import top_up_wallet
from sekisho.payments.v1 import payment_service_pb2 as pb
from sekisho.payments.v1 import wallet_service_pb2
from sekisho.payments.v1.money_pb2 import Money as MoneyMessage
from tests.fuzz.effort import examples
from tests.migrated import migrate
from tests.unit.payments.payments_world import NOW, World, yen

amounts = st.integers(1, 15_000)
part_or_all = st.one_of(st.none(), amounts)

Answer = wallet_service_pb2.Wallet | pb.Payment


@dataclass(frozen=True)
class Model:
    """What a payment must be."""

    authorized: int
    state: str = "AUTHORIZED"
    captured: int = 0
    refunded: int = 0

    def as_message(self) -> tuple[str, int, int, int]:
        return self.state, self.authorized, self.captured, self.refunded


@dataclass
class Sent:
    """A request that was answered, and how it is sent again."""

    request: IdentifiedRequest
    effect: Callable[[Connection], Answer]
    answer: Answer = field(default_factory=pb.Payment)


class PaymentsMachine(RuleBasedStateMachine):
    """Moves money at random, as clients do: legal steps, illegal ones, and each again."""

    payments: Bundle[str] = Bundle("payments")
    sent: Bundle[Sent] = Bundle("sent")
    codes: Bundle[str] = Bundle("codes")

    def __init__(self, url: str) -> None:
        super().__init__()
        self.database = Database(url)
        migrate(self.database, "payments")
        self.world = World(self.database)
        self.stranger = self.world.new_partner()
        self.paid_in = 10_000
        self.model: dict[str, Model] = {}
        self.changes: list[tuple[str, Model]] = []
        self.top_ups = 1  # the world's own
        self.answered = 0

    def teardown(self) -> None:
        assert self.world.findings() == []
        self.database.close()

    # What a client sends.

    def send(self, sent: Sent, refused: type[ServiceError] | None = None) -> Answer | None:
        """Send a request; if the model says so, it must be refused and change nothing."""
        answer = type(sent.answer)
        sending = once(self.database, self.world.partner_id, sent.request, answer, sent.effect)
        if refused is not None:
            self.world.assert_refused(refused, lambda: asyncio.run(sending))
            return None
        sent.answer = asyncio.run(sending)
        self.answered += 1
        return sent.answer

    def step(
        self,
        payment_id: str,
        request: IdentifiedRequest,
        effect: Callable[[Connection], Payment],
        after: Model | type[ServiceError],
    ) -> Sent | None:
        """Send a step of a payment, which must leave it as the model says, or be refused as it says."""
        sent = Sent(request, lambda connection: payment_message(effect(connection)))
        if not isinstance(after, Model):
            self.send(sent, after)
            return None
        answer = self.send(sent)
        assert isinstance(answer, pb.Payment)
        self.changed(answer, after)
        assert answer.payment_id == payment_id
        return sent

    def changed(self, answer: pb.Payment, after: Model) -> None:
        assert seen(answer) == after.as_message()
        self.model[answer.payment_id] = after
        self.changes.append((answer.payment_id, after))

    # What happens.

    @rule(target=sent, amount=amounts)
    def top_up(self, amount: int) -> Sent:
        def effect(connection: Connection) -> Answer:
            return wallet_message(top_up_wallet(connection, self.world.wallet_id, yen(amount), now=NOW, new_id=new_id))

        request = wallet_service_pb2.TopUpWalletRequest(request_id=request_id(), wallet_id=self.world.wallet_id)
        sent = Sent(request, effect, wallet_service_pb2.Wallet())
        answer = self.send(sent)
        self.paid_in += amount
        self.top_ups += 1
        assert isinstance(answer, wallet_service_pb2.Wallet)
        assert answer.available.minor_units == self.wallet()
        return sent

    @rule(target=payments, amount=amounts, capture=st.booleans())
    def create(self, amount: int, *, capture: bool) -> object:
        return self.create_with(self.world.code(), amount, capture=capture)[0]

    @rule(target=sent, amount=amounts, capture=st.booleans())
    def create_and_remember_the_request(self, amount: int, *, capture: bool) -> object:
        return self.create_with(self.world.code(), amount, capture=capture)[1]

    @rule(target=codes, amount=st.integers(1, 100))
    def create_and_remember_the_code(self, amount: int) -> object:
        code = self.world.code()
        payment_id, _ = self.create_with(code, amount, capture=False)
        return code if isinstance(payment_id, str) else multiple()

    @rule(code=codes, amount=amounts)
    def pay_with_a_used_code(self, code: str, amount: int) -> None:
        self.send(self.creation(code, amount, capture=True), PaymentCodeUsed)

    def creation(self, code: str, amount: int, *, capture: bool) -> Sent:
        asked = NewPayment(self.world.partner_id, code, yen(amount), capture, "order 7", 250)
        request = pb.CreatePaymentRequest(request_id=request_id(), payment_code=code, capture=capture)
        return Sent(
            request, lambda connection: payment_message(create_payment(connection, asked, now=NOW, new_id=new_id))
        )

    def create_with(self, code: str, amount: int, *, capture: bool) -> tuple[object, object]:
        sent = self.creation(code, amount, capture=capture)
        if amount > self.wallet():
            self.send(sent, InsufficientFunds)
            return multiple(), multiple()
        answer = self.send(sent)
        assert isinstance(answer, pb.Payment)
        self.changed(answer, Model(amount, "CAPTURED", amount) if capture else Model(amount))
        return answer.payment_id, sent

    @rule(target=sent, payment_id=payments, amount=part_or_all)
    def capture(self, payment_id: str, amount: int | None) -> object:
        before = self.model[payment_id]
        after: Model | type[ServiceError] = replace(before, state="CAPTURED", captured=amount or before.authorized)
        if before.state != "AUTHORIZED":
            after = PaymentStateConflict
        elif amount and amount > before.authorized:
            after = AmountTooLarge
        return (
            self.step(
                payment_id,
                pb.CapturePaymentRequest(request_id=request_id(), payment_id=payment_id, amount=message(amount)),
                lambda connection: capture_payment(
                    connection, self.world.partner_id, payment_id, amount and yen(amount), now=NOW + 1, new_id=new_id
                ),
                after,
            )
            or multiple()
        )

    @rule(target=sent, payment_id=payments)
    def cancel(self, payment_id: str) -> object:
        before = self.model[payment_id]
        return (
            self.step(
                payment_id,
                pb.CancelPaymentRequest(request_id=request_id(), payment_id=payment_id),
                lambda connection: cancel_payment(
                    connection, self.world.partner_id, payment_id, now=NOW + 1, new_id=new_id
                ),
                replace(before, state="CANCELED") if before.state == "AUTHORIZED" else PaymentStateConflict,
            )
            or multiple()
        )

    @rule(target=sent, payment_id=payments, amount=part_or_all)
    def refund(self, payment_id: str, amount: int | None) -> object:
        before = self.model[payment_id]
        left = before.captured - before.refunded
        state = "REFUNDED" if amount in {None, left} else "CAPTURED"
        after: Model | type[ServiceError] = replace(before, state=state, refunded=before.refunded + (amount or left))
        if before.state != "CAPTURED":
            after = PaymentStateConflict
        elif amount and amount > left:
            after = AmountTooLarge
        return (
            self.step(
                payment_id,
                pb.RefundPaymentRequest(request_id=request_id(), payment_id=payment_id, amount=message(amount)),
                lambda connection: refund_payment(
                    connection, self.world.partner_id, payment_id, amount and yen(amount), now=NOW + 2, new_id=new_id
                ),
                after,
            )
            or multiple()
        )

    @rule(payment_id=payments)
    def another_partner_refunds(self, payment_id: str) -> None:
        self.step(
            payment_id,
            pb.RefundPaymentRequest(request_id=request_id(), payment_id=payment_id),
            lambda connection: refund_payment(connection, self.stranger, payment_id, None, now=NOW, new_id=new_id),
            PaymentNotFound,
        )

    @rule(sent=sent)
    def send_again(self, sent: Sent) -> None:
        before, first = self.world.everything(), sent.answer
        assert self.send(sent) == first
        self.answered -= 1
        assert self.world.everything() == before

    @rule(sent=sent)
    def use_the_request_id_again(self, sent: Sent) -> None:
        other = pb.CancelPaymentRequest(request_id=sent.request.request_id, payment_id="pay_other")
        self.send(Sent(other, sent.effect), RequestIdReused)

    # What must be true at any time.

    def held(self) -> int:
        return sum(payment.authorized for payment in self.model.values() if payment.state == "AUTHORIZED")

    def kept(self) -> int:
        return sum(payment.captured - payment.refunded for payment in self.model.values())

    def wallet(self) -> int:
        return self.paid_in - self.held() - self.kept()

    @invariant()
    def the_balances_are_the_models(self) -> None:
        fees = sum((payment.captured - payment.refunded) * 250 // 10_000 for payment in self.model.values())
        expected = {
            "CASH": self.paid_in,
            "WALLET": self.wallet(),
            "HOLD": self.held(),
            "PARTNER": self.kept() - fees,
            "FEE": fees,
        }
        rows = {row.kind.value: row.debit + row.credit for row in self.database.read_here(trial_balance)}
        assert {kind: rows.get(kind, 0) for kind in expected} == expected
        assert self.wallet() >= 0

    @invariant()
    def nothing_in_the_database_is_out_of_bounds(self) -> None:
        for wrong in (
            "SELECT transaction_id FROM ledger_entries GROUP BY transaction_id, currency_code HAVING sum(amount) <> 0",
            "SELECT payment_id FROM payments WHERE NOT (refunded <= captured AND captured <= authorized)",
            "SELECT owner_id FROM ledger_accounts WHERE kind <> 'CASH' AND balance < 0",
        ):
            assert self.database.read_here(lambda connection, wrong=wrong: connection.execute(text(wrong)).all()) == []

    @invariant()
    def each_request_had_one_effect(self) -> None:
        counts = {
            table: self.database.read_here(
                lambda connection, table=table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 - a constant
            )
            for table in ("idempotency_keys", "payments", "payment_events", "ledger_transactions")
        }
        at_once = sum(model.state == "CAPTURED" for model in first_changes(self.changes).values())
        assert counts == {
            "idempotency_keys": self.answered,
            "payments": len(self.model),
            "payment_events": len(self.changes),
            "ledger_transactions": self.top_ups
            + len(self.changes)
            + at_once,  # captured at once: held first, as all are
        }

    @precondition(lambda self: self.changes)
    @invariant()
    def the_events_are_the_changes_in_their_order(self) -> None:
        events = self.database.read_here(lambda connection: list_events(connection, self.world.partner_id, 0, 1000))
        seen_events = [(event.payment.payment_id, seen(payment_message(event.payment))) for event in events]
        assert seen_events == [(payment_id, model.as_message()) for payment_id, model in self.changes]


def first_changes(changes: list[tuple[str, Model]]) -> dict[str, Model]:
    return dict(reversed(changes))


def seen(payment: pb.Payment) -> tuple[str, int, int, int]:
    amounts = (payment.authorized_amount, payment.captured_amount, payment.refunded_amount)
    authorized, captured, refunded = (amount.minor_units for amount in amounts)
    return pb.Payment.State.Name(payment.state), authorized, captured, refunded


def message(amount: int | None) -> MoneyMessage | None:
    return None if amount is None else MoneyMessage(currency_code="JPY", minor_units=amount)


def request_id() -> str:
    return secrets.token_hex(16)


@pytest.mark.timeout(300)
def test_payments_do_what_the_model_says(new_database_url: Callable[[], str]) -> None:
    run_state_machine_as_test(
        lambda: PaymentsMachine(new_database_url()),
        settings=settings(
            max_examples=examples(6, 10), stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
