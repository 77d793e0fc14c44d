"""Capturing, canceling and refunding a payment: each moves it one step on, and books what that moves."""

from collections.abc import Callable
from typing import TypeAlias

from sqlalchemy import Connection

from payments import payment_postings
from payments.ledger import LedgerTransaction
from payments.money import Money
from payments.payment_states import Payment, cancel, capture, refund
from payments.store.events import record_event
from payments.store.ledger import post
from payments.store.payments import get_payment, update_payment

# Makes an id that begins with a prefix.
_NewId: TypeAlias = Callable[[str], str]


def capture_payment(
    connection: Connection, partner_id: str, payment_id: str, amount: Money | None, *, now: int, new_id: _NewId
) -> Payment:
    """Take the amount, all of it if there is none, and give the rest back to the wallet; `now` is in milliseconds.

    Raises:
        PaymentNotFound: If the partner has no such payment.
        PaymentStateConflict: If the payment is not authorized, or was captured before.
        CurrencyMismatch: If the amount is in another currency.
        AmountTooLarge: If it is more than was authorized.
        BalanceLimitExceeded: If the partner's balance would become larger than the ledger keeps.

    """

    def step(before: Payment) -> tuple[Payment, LedgerTransaction]:
        after = capture(before, amount, now)
        return after, payment_postings.capture(new_id("ltx"), after)

    return _change(connection, partner_id, payment_id, step)


def cancel_payment(connection: Connection, partner_id: str, payment_id: str, *, now: int, new_id: _NewId) -> Payment:
    """Give the held amount back to the wallet; `now` is in milliseconds.

    Raises:
        PaymentNotFound: If the partner has no such payment.
        PaymentStateConflict: If the payment is not authorized, or was captured before.

    """

    def step(before: Payment) -> tuple[Payment, LedgerTransaction]:
        after = cancel(before, now)
        return after, payment_postings.cancellation(new_id("ltx"), after)

    return _change(connection, partner_id, payment_id, step)


def refund_payment(
    connection: Connection, partner_id: str, payment_id: str, amount: Money | None, *, now: int, new_id: _NewId
) -> Payment:
    """Pay the amount back to the wallet, all that is left if there is none; `now` is in milliseconds.

    Raises:
        PaymentNotFound: If the partner has no such payment.
        PaymentStateConflict: If the payment is not captured, or nothing is left to refund.
        CurrencyMismatch: If the amount is in another currency.
        AmountTooLarge: If it is more than is left.

    """

    def step(before: Payment) -> tuple[Payment, LedgerTransaction]:
        after = refund(before, amount, now)
        return after, payment_postings.refund(new_id("ltx"), before, after)

    return _change(connection, partner_id, payment_id, step)


def _change(
    connection: Connection,
    partner_id: str,
    payment_id: str,
    step: Callable[[Payment], tuple[Payment, LedgerTransaction]],
) -> Payment:
    after, booked = step(get_payment(connection, partner_id, payment_id, lock=True))
    update_payment(connection, after)
    post(connection, [booked])
    record_event(connection, after)  # last: it locks the partner's row until the commit
    return after
