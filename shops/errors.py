"""Errors that belong to no one rule."""

from collections.abc import Mapping

from mesh.errors import Code, ServiceError


class ShopNotFound(ServiceError):
    """There is no such shop for the caller."""

    code = Code.NOT_FOUND


class PaymentsUnavailable(ServiceError):
    """The payment company can't be reached now; the same call may succeed later."""

    code = Code.UNAVAILABLE


class GatewayError(Exception):
    """A call to the payment company's gateway ended without an answer, or with a refusal.

    Attributes:
        code: The name of the gRPC status code.
        reason: The reason in `google.rpc.ErrorInfo` (AIP-193); the code's name if there is none.
        message: The status message, for people.
        metadata: Further facts in `google.rpc.ErrorInfo`.

    """

    def __init__(self, code: str, reason: str, message: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = metadata or {}


class UnexpectedAnswer(Exception):
    """The payment company's answer lacks what its contract promises."""
