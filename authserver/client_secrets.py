"""Client secrets: 256 random bits, stored as an HMAC under a pepper.

A secret of this entropy can't be guessed, so a slow hash would protect nothing and make every token slow.
"""

import base64
import hashlib
import hmac
import secrets

_PREFIX = "scs_"
_BYTES = 32
_LENGTH = 256  # what is longer is no secret of ours; not worth hashing

# Compared with when the client is unknown, so that this takes as long as a wrong secret. No secret has this digest.
NO_DIGEST = bytes(hashlib.sha256().digest_size)


def new_client_secret() -> str:
    """Make a secret, `scs_…`."""
    return _PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_BYTES)).rstrip(b"=").decode()


def digest(pepper: bytes, secret: str) -> bytes:
    """Return what is stored of a secret: its HMAC-SHA-256 under the pepper."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def matches(pepper: bytes, presented: str, stored: bytes) -> bool:
    """Say whether a presented secret is the one whose digest is stored, in constant time."""
    return hmac.compare_digest(digest(pepper, presented[:_LENGTH]), stored) and len(presented) <= _LENGTH
