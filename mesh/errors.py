"""Errors that a caller is meant to see, and the statuses that they become."""

import enum
import re
from collections.abc import Mapping
from typing import ClassVar


class Code(enum.IntEnum):
    """The gRPC status codes that Sekisho answers with, by their numbers on the wire."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Mendable(Exception):
    """What the user of a command can mend; the message says in one line what it is, and where it helps, how."""


class ServiceError(Exception):
    """A refusal with a status, a reason and words for the caller.

    A subclass sets `code`; its class name is its reason: `PaymentNotFound` is answered as `PAYMENT_NOT_FOUND` in
    `google.rpc.ErrorInfo` (AIP-193). The message and the metadata reach the caller, so neither may hold a secret.

    Attributes:
        code: The status.
        reason: The machine-readable reason.
        message: One sentence for people.
        metadata: Further facts for programs, such as the id of what exists already.
        retry_seconds: After how many seconds the same call may succeed; 0 where that is not known.

    """

    code: ClassVar[Code]
    reason: ClassVar[str]
    retry_seconds: float = 0.0

    def __init_subclass__(cls) -> None:
        """Derive the reason from the class name."""
        cls.reason = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).upper()

    def __init__(self, message: str, **metadata: str) -> None:
        """Say what is refused, and why."""
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class ServerStopping(ServiceError):
    """The server stops, and ends what would otherwise go on for long."""

    code = Code.UNAVAILABLE


class DatabaseUnavailable(ServiceError, Mendable):
    """The database did not do its part; the same call may succeed later."""

    code = Code.UNAVAILABLE


class MetadataTooLarge(ServiceError):
    """A call comes with more metadata than the server takes."""

    code = Code.RESOURCE_EXHAUSTED


class InvalidRequest(ServiceError):
    """Fields of the request have values that the method does not take.

    Attributes:
        violations: What is wrong with each field, by its path.

    """

    code = Code.INVALID_ARGUMENT

    def __init__(self, violations: Mapping[str, str]) -> None:
        """List what is wrong, field by field."""
        super().__init__("; ".join(f"{field}: {problem}" for field, problem in violations.items()))
        self.violations = violations
