"""Creating a payment: the amount is held in the consumer's wallet, or taken at once."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from payments import payment_codes, payment_postings
from payments.money import Money
from payments.payment_states import Payment, PaymentState, capture
from payments.store.events import record_event
from payments.store.ledger import post
from payments.store.payments import insert_payment
from payments.store.wallets import get_code, use_code


@dataclass(frozen=True, slots=True)
class NewPayment:
    """What a partner asks for.

    Attributes:
        partner_id: The partner.
        payment_code: The consumer's consent.
        amount: What to charge.
        capture: Whether to take it at once.
        description: The partner's own words.
        fee_basis_points: The fee, in hundredths of a percent.

    """

    partner_id: str
    payment_code: str
    amount: Money
    capture: bool
    description: str
    fee_basis_points: int


def create_payment(connection: Connection, asked: NewPayment, *, now: int, new_id: Callable[[str], str]) -> Payment:
    """Hold or take the amount, and use the code up; `now` is in milliseconds.

    Raises:
        PaymentCodeNotFound, PaymentCodeUsed, PaymentCodeExpired, PaymentCodeLimitExceeded: If the code does not do.
        CurrencyMismatch: If the code is for another currency.
        InsufficientFunds: If the wallet has less than the amount.
        BalanceLimitExceeded: If a balance would become larger than the ledger keeps.

    """
    code = get_code(connection, payment_codes.digest(asked.payment_code))
    payment_codes.require_usable(code, asked.amount, now)
    payment = _authorized(asked, code.wallet_id, new_id("pay"), now)
    booked = [payment_postings.authorization(new_id("ltx"), payment)]
    if asked.capture:
        payment = capture(payment, None, now)
        booked.append(payment_postings.capture(new_id("ltx"), payment))
    insert_payment(connection, payment)
    post(connection, booked)
    use_code(connection, code.code_digest, payment.payment_id)
    record_event(connection, payment)  # last: it locks the partner's row until the commit
    return payment


def _authorized(asked: NewPayment, wallet_id: str, payment_id: str, now: int) -> Payment:
    return Payment(
        payment_id=payment_id,
        partner_id=asked.partner_id,
        wallet_id=wallet_id,
        currency_code=asked.amount.currency_code,
        state=PaymentState.AUTHORIZED,
        authorized=asked.amount.minor_units,
        captured=0,
        refunded=0,
        fee_basis_points=asked.fee_basis_points,
        description=asked.description,
        create_time=now,
        update_time=now,
    )
