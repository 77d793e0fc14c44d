"""Client secrets: 256 random bits, stored as an HMAC under a pepper.

A secret of this entropy can't be guessed, so a slow hash would protect nothing and make every token slow.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "scs_"
_BYTES = 32
_LENGTH = 256  # what is longer is no secret of ours; not worth hashing


@dataclass(frozen=True, slots=True)
class Digest:
    """What is stored of a secret: its HMAC-SHA-256, and the pepper that this was made with."""

    pepper_id: int
    mac: bytes


def new_client_secret() -> str:
    """Make a secret, `scs_…`."""
    return _PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_BYTES)).rstrip(b"=").decode()


class Peppers:
    """What secrets are digested with.

    Args:
        peppers: Keys of 256 bits, by their id.
        current: The id of the one that new digests are made with.

    """

    def __init__(self, peppers: Mapping[int, bytes], current: int) -> None:
        self._peppers = peppers
        self._current = current
        # Compared with when the client is unknown, so that this takes as long as a wrong secret. No secret has it.
        self.no_digest = Digest(current, bytes(hashlib.sha256().digest_size))

    def digest(self, secret: str) -> Digest:
        """Return what the database stores of a secret."""
        return Digest(self._current, hmac.digest(self._peppers[self._current], secret.encode(), hashlib.sha256))

    def matches(self, presented: str, stored: Digest) -> bool:
        """Say whether a presented secret is the one whose digest is stored, in constant time.

        A digest whose pepper is not there any more matches nothing.
        """
        pepper = self._peppers.get(stored.pepper_id, b"")
        mac = hmac.digest(pepper, presented[:_LENGTH].encode(), hashlib.sha256)
        return hmac.compare_digest(mac, stored.mac) and len(presented) <= _LENGTH and bool(pepper)

    def is_current(self, stored: Digest) -> bool:
        """Return whether a digest was made with the current pepper."""
        return stored.pepper_id == self._current
