"""Identifiers of resources."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o or u
_RANDOM_BITS = 82
_LENGTH = 26


def new_id(prefix: str) -> str:
    """Make an identifier such as `pay_01k5j2…`: the prefix, 48 bits of milliseconds, 82 random bits.

    Identifiers made later sort later, so a table keyed by them grows at its end and can be listed in order.
    """
    number = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
