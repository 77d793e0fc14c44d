"""The states of a payment, the steps between them, and its amounts."""

import enum
from dataclasses import dataclass, replace

from mesh.errors import Code, ServiceError
from payments.money import Money, require_currency

_BASIS_POINTS = 10_000


class PaymentNotFound(ServiceError):
    """The partner has no such payment."""

    code = Code.NOT_FOUND


class PaymentStateConflict(ServiceError):
    """The payment is in a state that the step does not start from."""

    code = Code.FAILED_PRECONDITION


class AmountTooLarge(ServiceError):
    """The amount is larger than what is left of the payment."""

    code = Code.FAILED_PRECONDITION


class PaymentState(enum.StrEnum):
    """The stage of a payment; the names are those of `sekisho.payments.v1.Payment.State`."""

    AUTHORIZED = "AUTHORIZED"
    CAPTURED = "CAPTURED"
    CANCELED = "CANCELED"
    REFUNDED = "REFUNDED"


class PaymentChange(enum.StrEnum):
    """What a step did to a payment; the names are those of `sekisho.payments.v1.WatchPaymentsResponse.Change`."""

    AUTHORIZED = "AUTHORIZED"
    CAPTURED = "CAPTURED"
    CANCELED = "CANCELED"
    REFUNDED = "REFUNDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment from a wallet to a partner. Amounts are in minor units, times in milliseconds.

    Attributes:
        payment_id: Its id, `pay_…`.
        partner_id: The partner that is paid.
        wallet_id: The wallet that pays.
        currency_code: The currency of all its amounts.
        state: The stage.
        authorized: What was held.
        captured: What was taken of it.
        refunded: What was paid back of that.
        fee_basis_points: The fee, in hundredths of a percent of what is taken and not paid back.
        description: The partner's own words.
        create_time: When it was authorized.
        update_time: When it last changed.

    """

    payment_id: str
    partner_id: str
    wallet_id: str
    currency_code: str
    state: PaymentState
    authorized: int
    captured: int
    refunded: int
    fee_basis_points: int
    description: str
    create_time: int
    update_time: int

    @property
    def held(self) -> int:
        """What is held now: neither captured nor given back."""
        return self.authorized if self.state is PaymentState.AUTHORIZED else 0

    @property
    def last_change(self) -> PaymentChange:
        """What the last step did; one that was created captured was captured."""
        # Every step names the state that it leads to, but for a refund that leaves something to refund.
        return PaymentChange.REFUNDED if self.refunded else PaymentChange(self.state)

    @property
    def fee(self) -> int:
        """The fee on what is taken and not paid back, rounded down."""
        return (self.captured - self.refunded) * self.fee_basis_points // _BASIS_POINTS


def capture(payment: Payment, amount: Money | None, now: int) -> Payment:
    """Return the payment with the amount captured; with all of it if there is none.

    Raises:
        PaymentStateConflict: If it is not authorized, or was captured before.
        CurrencyMismatch: If the amount is in another currency.
        AmountTooLarge: If more than the authorized amount is asked for.

    """
    _require_state(payment, PaymentState.AUTHORIZED)
    captured = _part(payment, amount, payment.authorized)
    return replace(payment, state=PaymentState.CAPTURED, captured=captured, update_time=now)


def cancel(payment: Payment, now: int) -> Payment:
    """Return the payment canceled.

    Raises:
        PaymentStateConflict: If it is not authorized, or was captured before.

    """
    _require_state(payment, PaymentState.AUTHORIZED)
    return replace(payment, state=PaymentState.CANCELED, update_time=now)


def refund(payment: Payment, amount: Money | None, now: int) -> Payment:
    """Return the payment with the amount refunded; with all that is left if there is none.

    Raises:
        PaymentStateConflict: If it is not captured, or nothing is left to refund.
        CurrencyMismatch: If the amount is in another currency.
        AmountTooLarge: If more than what is left is asked for.

    """
    _require_state(payment, PaymentState.CAPTURED)
    refunded = payment.refunded + _part(payment, amount, payment.captured - payment.refunded)
    state = PaymentState.REFUNDED if refunded == payment.captured else PaymentState.CAPTURED
    return replace(payment, state=state, refunded=refunded, update_time=now)


def _require_state(payment: Payment, state: PaymentState) -> None:
    if payment.state is not state:
        raise PaymentStateConflict(f"the payment is {payment.state}, not {state}", state=payment.state)


def _part(payment: Payment, amount: Money | None, left: int) -> int:
    if amount is None:
        return left
    require_currency(payment.currency_code, amount)
    if amount.minor_units > left:
        raise AmountTooLarge(f"only {left} minor units of the payment are left", minor_units=str(left))
    return amount.minor_units
