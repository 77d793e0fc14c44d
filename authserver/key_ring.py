"""The auth server's own keys: for signing private access tokens and for sealing access tokens."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from authserver import store
from authserver.access_tokens import TokenSealer
from mesh import signed_jwt
from mesh.private_tokens import Keys
from mesh.sealing import seal, unseal
from mesh.signed_jwt import SigningKey

_SEALING_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys in use.

    Attributes:
        signing_key: Signs private access tokens.
        sealer: Seals and opens access tokens.

    """

    signing_key: SigningKey
    sealer: TokenSealer

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys as a JWK set (RFC 7517 §5)."""
        return {"keys": [self.signing_key.public_jwk()]}

    async def published(self) -> Keys:
        """Return the public keys, by their id, as a `PrivateTokenVerifier` fetches them."""
        return signed_jwt.public_keys(self.jwks())


def load_key_ring(connection: Connection, key_encryption_key: bytes, now_ms: int) -> KeyRing:
    """Read the keys, making those that are missing.

    Needs a writing transaction, which keeps other processes from making them too.

    Raises:
        SealBroken: If the keys were sealed under another key-encryption key.

    """

    def find_or_create(use: str, create: Callable[[], bytes]) -> tuple[int, bytes]:
        place = f"{use} key"
        key = store.find_key(connection, use)
        if key is None:
            sealed = seal(key_encryption_key, create(), place)
            key = store.add_key(connection, use, sealed, now_ms)
        return key.key_id, unseal(key_encryption_key, key.material, place)

    _, pem = find_or_create("signing", signed_jwt.create_pem)
    sealing_id, sealing_key = find_or_create("sealing", lambda: secrets.token_bytes(_SEALING_KEY_BYTES))
    return KeyRing(SigningKey.from_pem(pem), TokenSealer({sealing_id: sealing_key}, sealing_id))
