"""Payment codes: a consumer's consent to be charged once, up to a limit, until a time."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from mesh.errors import Code, ServiceError
from payments.money import Money, require_currency

_PREFIX = "pmc_"
_BYTES = 16


class PaymentCodeNotFound(ServiceError):
    """There is no such payment code."""

    code = Code.NOT_FOUND


class PaymentCodeUsed(ServiceError):
    """The payment code paid before."""

    code = Code.FAILED_PRECONDITION


class PaymentCodeExpired(ServiceError):
    """The payment code's time is over."""

    code = Code.FAILED_PRECONDITION


class PaymentCodeLimitExceeded(ServiceError):
    """The amount is larger than what the consumer consented to."""

    code = Code.FAILED_PRECONDITION


@dataclass(frozen=True, slots=True)
class PaymentCode:
    """What is kept of a payment code; the code itself is not.

    Attributes:
        code_digest: The SHA-256 of the code.
        wallet_id: The wallet that may be charged.
        limit: The most that may be charged.
        expire_time: From when on it is not taken, in milliseconds.
        payment_id: The payment that used it up; None if none did.

    """

    code_digest: bytes
    wallet_id: str
    limit: Money
    expire_time: int
    payment_id: str | None


def new_code(random_bytes: Callable[[int], bytes]) -> str:
    """Make a code of 128 random bits."""
    return _PREFIX + base64.urlsafe_b64encode(random_bytes(_BYTES)).rstrip(b"=").decode()


def digest(code: str) -> bytes:
    """Return what a code is kept as. With 128 random bits in it, it needs no slow hash."""
    return hashlib.sha256(code.encode()).digest()


def require_usable(code: PaymentCode, amount: Money, now: int) -> None:
    """Return if the code lets the amount be charged now.

    Raises:
        PaymentCodeUsed: If it was used.
        PaymentCodeExpired: If its time is over.
        CurrencyMismatch: If the amount is in another currency than the limit.
        PaymentCodeLimitExceeded: If the amount is above the limit.

    """
    if code.payment_id is not None:
        raise PaymentCodeUsed("this payment code was used")
    if now >= code.expire_time:
        raise PaymentCodeExpired("this payment code has expired")
    require_currency(code.limit.currency_code, amount)
    if amount.minor_units > code.limit.minor_units:
        raise PaymentCodeLimitExceeded("the amount is above the limit of this payment code")
