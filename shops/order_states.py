"""What can happen to an order."""

import enum

from mesh.errors import Code, ServiceError


class OrderState(enum.StrEnum):
    """The states of an order, named as in the contract.

    PAYMENT_PENDING → PAID → REFUNDED, or PAYMENT_PENDING → PAYMENT_DECLINED.
    """

    PAYMENT_PENDING = "PAYMENT_PENDING"
    PAID = "PAID"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    REFUNDED = "REFUNDED"


class OrderStateConflict(ServiceError):
    """The order's state does not allow it."""

    code = Code.FAILED_PRECONDITION


# What the payment service itself says once it has looked for an earlier payment under the same request id.
_REFUSED_BY_PAYMENTS = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"})
# What is said before anyone looks: it says nothing about an earlier attempt, which may have gone through.
_REFUSED_AT_THE_DOOR = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})


def is_declined(code: str, *, first_attempt: bool) -> bool:
    """Tell whether a failed attempt to pay decides that an order is not paid.

    Args:
        code: The name of the gRPC status code that the attempt ended with.
        first_attempt: Whether no attempt was made before, by whichever process.

    Returns:
        False if the payment may have been taken, or may yet be: the attempt must be repeated.

    """
    return code in _REFUSED_BY_PAYMENTS or (first_attempt and code in _REFUSED_AT_THE_DOOR)


def is_refund_refused(code: str) -> bool:
    """Tell whether a failed refund would fail again, from the name of its gRPC status code."""
    return code in _REFUSED_BY_PAYMENTS


def require_paid(state: OrderState) -> None:
    """Let through what can be refunded.

    Raises:
        OrderStateConflict: If the order is not paid.

    """
    if state is not OrderState.PAID:
        raise OrderStateConflict(f"a {state} order can't be refunded")
