"""Checks fields of requests, and reports all that is wrong with a request at once."""

import re

from mesh.errors import InvalidRequest
from mesh.readable_text import fault_of

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_UUID4 = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_EMAIL_LENGTH = 254


class Fields:
    """Collects violations: call the checks, then `done`."""

    def __init__(self) -> None:
        self._violations: dict[str, str] = {}

    def refuse(self, field: str, problem: str) -> None:
        """Record that a field's value is not taken."""
        self._violations.setdefault(field, problem)

    def text(self, field: str, value: str, *, max_length: int, required: bool = True) -> None:
        """Check a line of text that people read, of at most `max_length` characters."""
        if (value or required) and (fault := fault_of(value, max_length)):
            self.refuse(field, fault)

    def identifier(self, field: str, value: str, *, max_length: int) -> None:
        """Check what programs compare, such as an id or a code: printable characters, at most `max_length` of them."""
        if not value.strip():
            self.refuse(field, "must not be empty")
        elif len(value) > max_length:
            self.refuse(field, f"must have at most {max_length} characters")
        elif not value.isprintable():
            self.refuse(field, "must have printable characters only")

    def email(self, field: str, value: str) -> None:
        """Check an e-mail address."""
        if len(value) > _EMAIL_LENGTH or not value.isprintable() or not _EMAIL.fullmatch(value):
            self.refuse(field, "must be an e-mail address")

    def request_id(self, value: str) -> None:
        """Check a `request_id` (AIP-155)."""
        if not _REQUEST_ID.fullmatch(value):
            self.refuse("request_id", "must be 8 to 64 letters, digits, '-', '_' or '.', best a UUID")

    def random_request_id(self, value: str) -> None:
        """Check a `request_id` that nobody must guess."""
        if not _UUID4.fullmatch(value):
            self.refuse("request_id", "must be a random UUID (version 4)")

    def done(self) -> None:
        """Return if all fields were fine.

        Raises:
            InvalidRequest: If not, with all that is wrong.

        """
        if self._violations:
            raise InvalidRequest(self._violations)
