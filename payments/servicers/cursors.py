"""Cursors of watches: where in a partner's events to go on."""

import base64
import binascii
import hashlib
import hmac

from mesh.errors import InvalidRequest

_NUMBER_BYTES = 8
_CHECK_BYTES = 8


def encode_cursor(partner_id: str, sequence: int) -> str:
    """Return the cursor after a partner's event; it is opaque to callers, but no secret."""
    number = sequence.to_bytes(_NUMBER_BYTES)
    return base64.urlsafe_b64encode(number + _check(partner_id, number)).decode().rstrip("=")


def decode_cursor(partner_id: str, cursor: str) -> int:
    """Return the number of the event that a cursor stands after; an empty cursor stands before the first.

    Raises:
        InvalidRequest: If it is no cursor, or another partner's.

    """
    if not cursor:
        return 0
    try:
        decoded = base64.urlsafe_b64decode(cursor.encode() + b"==")
    except (binascii.Error, UnicodeError):
        decoded = b""
    number, check = decoded[:_NUMBER_BYTES], decoded[_NUMBER_BYTES:]
    sequence = int.from_bytes(number)
    # The decoder skips what it does not know; encoding again shows whether there was any of it.
    if not hmac.compare_digest(check, _check(partner_id, number)) or encode_cursor(partner_id, sequence) != cursor:
        raise invalid_cursor()
    return sequence


def invalid_cursor() -> InvalidRequest:
    """Return the refusal of a cursor."""
    return InvalidRequest({"cursor": "must be a cursor that this method sent to this partner, unchanged"})


def _check(partner_id: str, number: bytes) -> bytes:
    return hashlib.sha256(number + partner_id.encode()).digest()[:_CHECK_BYTES]
