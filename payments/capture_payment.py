"""Capturing a payment: the amount, or part of it, becomes the partner's."""

from collections.abc import Callable

from sqlalchemy import Connection

from payments import payment_postings
from payments.money import Money
from payments.payment_states import Payment, capture
from payments.store.events import record_event
from payments.store.ledger import post
from payments.store.payments import get_payment, update_payment


def capture_payment(
    connection: Connection,
    partner_id: str,
    payment_id: str,
    amount: Money | None,
    *,
    now: int,
    new_id: Callable[[str], str],
) -> Payment:
    """Take the amount, all of it if there is none, and give the rest back to the wallet; `now` is in milliseconds.

    Raises:
        PaymentNotFound: If the partner has no such payment.
        PaymentStateConflict: If the payment is not authorized, or was captured before.
        CurrencyMismatch: If the amount is in another currency.
        AmountTooLarge: If it is more than was authorized.
        BalanceLimitExceeded: If the partner's balance would become larger than the ledger keeps.

    """
    before = get_payment(connection, partner_id, payment_id, lock=True)
    after = capture(before, amount, now)
    update_payment(connection, after)
    post(connection, [payment_postings.capture(new_id("ltx"), after)])
    record_event(connection, after)  # last: it locks the partner's row until the commit
    return after
