"""Any sequence of top-ups and payments, against a model that keeps four numbers."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from mesh.database import Database
from mesh.migrations import upgrade
from payments.ledger import InsufficientFunds
from payments.payment_states import AmountTooLarge, Payment, PaymentState
from payments.store.ledger import trial_balance
from tests.unit.payments.payments_world import World, yen

amounts = st.integers(1, 20_000)


class PaymentsMachine(RuleBasedStateMachine):
    """Moves money at random; the ledger must always agree with the model, and with itself."""

    held: Bundle[Payment] = Bundle("held")
    captured: Bundle[Payment] = Bundle("captured")

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(f"sqlite:///{Path(self.folder.name)}/payments.db")
        self.database.run_here(lambda connection: upgrade(connection, "payments"))
        self.world = World(self.database)
        self.cash, self.wallet, self.hold, self.kept = 10_000, 10_000, 0, dict[str, Payment]()

    def teardown(self) -> None:
        if hasattr(self, "database"):
            assert self.world.findings() == []
            self.database.close()
            self.folder.cleanup()

    @rule(amount=amounts)
    def top_up(self, amount: int) -> None:
        self.cash += amount
        self.wallet += amount
        assert self.world.top_up(amount) == self.wallet

    @rule(target=held, amount=amounts)
    def authorize(self, amount: int) -> Payment | None:
        if amount > self.wallet:
            code = self.world.code()
            self.world.assert_refused(InsufficientFunds, lambda: self.world.create(yen(amount), code=code))
            return None
        self.wallet -= amount
        self.hold += amount
        return self.world.create(yen(amount))

    @rule(target=captured, payment=consumes(held), amount=amounts)
    def capture(self, payment: Payment | None, amount: int) -> Payment | None:
        if payment is None:
            return None
        if amount > payment.authorized:
            self.world.assert_refused(AmountTooLarge, lambda: self.world.capture(payment, yen(amount)))
            amount = payment.authorized
        self.hold -= payment.authorized
        self.wallet += payment.authorized - amount
        self.kept[payment.payment_id] = self.world.capture(payment, yen(amount))
        return self.kept[payment.payment_id]

    @rule(payment=consumes(held))
    def cancel(self, payment: Payment | None) -> None:
        if payment is not None:
            self.hold -= payment.authorized
            self.wallet += payment.authorized
            self.world.cancel(payment)

    @rule(payment=captured, amount=amounts)
    def refund(self, payment: Payment | None, amount: int) -> None:
        current = self.kept[payment.payment_id] if payment else None
        if current is None or current.state is PaymentState.REFUNDED:
            return
        amount = min(amount, current.captured - current.refunded)
        self.wallet += amount
        self.kept[current.payment_id] = self.world.refund(current, yen(amount))

    @invariant()
    def the_ledger_agrees(self) -> None:
        if not hasattr(self, "database"):
            return
        fees = sum((kept.captured - kept.refunded) * 250 // 10_000 for kept in self.kept.values())
        kept = sum(kept.captured - kept.refunded for kept in self.kept.values())
        expected = {"CASH": self.cash, "WALLET": self.wallet, "HOLD": self.hold, "PARTNER": kept - fees, "FEE": fees}
        rows = {row.kind.value: row.debit + row.credit for row in self.world.run(trial_balance)}
        assert {kind: rows.get(kind, 0) for kind in expected} == expected


TestPayments = PaymentsMachine.TestCase
TestPayments.settings = settings(
    max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
