"""Canceling a payment: the held amount goes back to the wallet."""

from collections.abc import Callable

from sqlalchemy import Connection

from payments import payment_postings
from payments.payment_states import Payment, cancel
from payments.store.events import record_event
from payments.store.ledger import post
from payments.store.payments import get_payment, update_payment


def cancel_payment(
    connection: Connection, partner_id: str, payment_id: str, *, now: int, new_id: Callable[[str], str]
) -> Payment:
    """Give the held amount back to the wallet; `now` is in milliseconds.

    Raises:
        PaymentNotFound: If the partner has no such payment.
        PaymentStateConflict: If the payment is not authorized, or was captured before.

    """
    before = get_payment(connection, partner_id, payment_id, lock=True)
    after = cancel(before, now)
    update_payment(connection, after)
    post(connection, [payment_postings.cancellation(new_id("ltx"), after)])
    record_event(connection, after)  # last: it locks the partner's row until the commit
    return after
