"""Seals secrets for storage."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

_NONCE_BYTES = 12


class SealBroken(Exception):
    """The sealed bytes were made under another key or for another place, or were changed."""


def seal(key: bytes, secret: bytes, place: str) -> bytes:
    """Encrypt a secret by AES-256-GCM-SIV (RFC 8452) so that it opens only in its place, such as `shop shp_…`."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCMSIV(key).encrypt(nonce, secret, place.encode())


def unseal(key: bytes, sealed: bytes, place: str) -> bytes:
    """Decrypt what `seal` made for the same place.

    Raises:
        SealBroken: If key, place or bytes are not those of the sealing.

    """
    try:
        return AESGCMSIV(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
    except (InvalidTag, ValueError) as error:
        raise SealBroken(f"can't unseal the secret of {place}: wrong key file, or a changed row") from error
