"""Access tokens: opaque to everyone else, sealed so that whoever has the key can read them back.

The bytes are a version, the id of the sealing key, a nonce, and AES-256-GCM-SIV (RFC 8452) over the contents, with
version and key id as associated data. The token is `sat_` and their unpadded base64url. Issuing one writes nothing.
"""

import base64
import binascii
import secrets
import struct
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from mesh.access.rules import Caller

MAX_LENGTH = 1024

_PREFIX = "sat_"
_VERSION = 1
_HEADER = struct.Struct(">BI")  # version, key id
_NONCE_BYTES = 12
_BODY = _HEADER.size + _NONCE_BYTES


class TokenRejected(Exception):
    """Not an access token that was sealed here."""


class Epochs(msgspec.Struct, frozen=True, array_like=True):
    """The counters that revoking raises, as they stood when a token was issued."""

    client: int
    partner: int
    platform: int


NEW = Epochs(0, 0, 0)


class AccessToken(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an access token says.

    Attributes:
        caller: Whom it speaks for, with the scopes granted.
        jti: Its id.
        expire_time: When it expires, in seconds since the epoch.
        epochs: The counters that must not have been raised since.

    """

    caller: Caller
    jti: str
    expire_time: int
    epochs: Epochs


class TokenSealer:
    """Seals and opens access tokens.

    Args:
        keys: Sealing keys of 256 bits, by their id; each opens what it sealed.
        current: The id of the key that seals.

    """

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        self._ciphers = {key_id: AESGCMSIV(key) for key_id, key in keys.items()}
        self._current = current

    def seal(self, token: AccessToken) -> str:
        """Return the token as its bearer holds it.

        Raises:
            ValueError: If it would be too long to be accepted again.

        """
        header, nonce = _HEADER.pack(_VERSION, self._current), secrets.token_bytes(_NONCE_BYTES)
        ciphertext = self._ciphers[self._current].encrypt(nonce, msgspec.msgpack.encode(token), header)
        sealed = _encode(header + nonce + ciphertext)
        if len(sealed) > MAX_LENGTH:
            raise ValueError(f"an access token of {len(sealed)} characters is too long")
        return sealed

    def open(self, sealed: str) -> AccessToken:
        """Return what the token says. Whether that still holds is not judged here.

        Raises:
            TokenRejected: If it was not sealed here, was changed in any way, or is spelled differently.

        """
        if len(sealed) > MAX_LENGTH or not sealed.startswith(_PREFIX):
            raise TokenRejected
        raw = _decode(sealed)
        try:
            header, nonce, ciphertext = raw[: _HEADER.size], raw[_HEADER.size : _BODY], raw[_BODY:]
            version, key_id = _HEADER.unpack(header)
            if version != _VERSION:
                raise TokenRejected
            return _decoder.decode(self._ciphers[key_id].decrypt(nonce, ciphertext, header))
        except (struct.error, KeyError, ValueError, InvalidTag, msgspec.DecodeError) as error:
            raise TokenRejected from error


_decoder = msgspec.msgpack.Decoder(AccessToken)


def _encode(raw: bytes) -> str:
    return _PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(sealed: str) -> bytes:
    """Decode base64url, refusing all spellings but the one that `_encode` gives."""
    body = sealed.removeprefix(_PREFIX)
    try:
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except (binascii.Error, ValueError) as error:
        raise TokenRejected from error
    if _encode(raw) != sealed:
        raise TokenRejected
    return raw
