"""Refunding a payment: the captured amount, or part of it, goes back to the wallet."""

from collections.abc import Callable

from sqlalchemy import Connection

from payments import payment_postings
from payments.money import Money
from payments.payment_states import Payment, refund
from payments.store.events import record_event
from payments.store.ledger import post
from payments.store.payments import get_payment, update_payment


def refund_payment(
    connection: Connection,
    partner_id: str,
    payment_id: str,
    amount: Money | None,
    *,
    now: int,
    new_id: Callable[[str], str],
) -> Payment:
    """Pay the amount back to the wallet, all that is left if there is none; `now` is in milliseconds.

    Raises:
        PaymentNotFound: If the partner has no such payment.
        PaymentStateConflict: If the payment is not captured, or nothing is left to refund.
        CurrencyMismatch: If the amount is in another currency.
        AmountTooLarge: If it is more than is left.

    """
    before = get_payment(connection, partner_id, payment_id, lock=True)
    after = refund(before, amount, now)
    update_payment(connection, after)
    post(connection, [payment_postings.refund(new_id("ltx"), before, after)])
    record_event(connection, after)  # last: it locks the partner's row until the commit
    return after
