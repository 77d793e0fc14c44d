"""The public keys that clients sign their assertions with: JWK sets (RFC 7517), given at registration."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from authserver.errors import InvalidClientMetadata

# RS256 is what every implementation must know (RFC 7523 §5); ES256 is what Sekisho itself signs with. Each has its type
# of key: so the key tells the algorithm, and nobody else has a say in it (RFC 8725 §3.1).
ES256, RS256 = "ES256", "RS256"
ALGORITHMS = (ES256, RS256)

_MAX_BYTES = 16 * 1024
_MAX_KEYS = 5  # enough to replace one by the next; each may be tried for an assertion without a kid
_KID_LENGTH = 100
_RSA_BITS = range(2048, 4096 + 1)  # RFC 7518 §3.3; what is longer only takes longer
_RSA_EXPONENTS = range(3, 2**32)  # likewise
# What no public key has (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2).
_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A public key of a client.

    Attributes:
        kid: Its name, unique among the client's; empty if it has none.
        alg: The one algorithm that it verifies.
        key: The key.

    """

    kid: str
    alg: str
    key: EllipticCurvePublicKey | RSAPublicKey

    def as_jwk(self) -> dict[str, str]:
        """Return the key as a JWK that has what is needed and nothing else."""
        if isinstance(self.key, EllipticCurvePublicKey):
            members, jwk = ["kty", "crv", "x", "y"], ECAlgorithm.to_jwk(self.key, as_dict=True)
        else:
            members, jwk = ["kty", "n", "e"], RSAAlgorithm.to_jwk(self.key, as_dict=True)
        named = {"kid": self.kid} if self.kid else {}
        return {**{name: str(jwk[name]) for name in members}, **named, "use": "sig", "alg": self.alg}


def parse_keys(jwks: str) -> tuple[ClientKey, ...]:
    """Return the keys of a JWK set, which comes as JSON.

    Raises:
        InvalidClientMetadata: If it is not a set of a few keys, each public, for signatures, and of a type and size
            that is supported.

    """
    if len(jwks) > _MAX_BYTES:
        raise InvalidClientMetadata(f"jwks must have at most {_MAX_BYTES} characters")
    try:
        parsed = json.loads(jwks)
    except (ValueError, RecursionError) as error:
        raise InvalidClientMetadata("jwks must be a JWK set (RFC 7517 §5), as JSON") from error
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MAX_KEYS:
        raise InvalidClientMetadata(f"jwks must be a JWK set (RFC 7517 §5) of 1 to {_MAX_KEYS} keys")
    keys = tuple(map(_parse_key, listed))
    names = [key.kid for key in keys if key.kid]
    if len(names) != len(set(names)):
        raise InvalidClientMetadata("each key in jwks must have a kid of its own")
    return keys


def format_keys(keys: Sequence[ClientKey]) -> str:
    """Return keys as a JWK set in JSON; the empty text if there are none."""
    return json.dumps({"keys": [key.as_jwk() for key in keys]}, separators=(",", ":")) if keys else ""


def _parse_key(jwk: object) -> ClientKey:
    if not isinstance(jwk, dict):
        raise InvalidClientMetadata("each key in jwks must be a JSON object")
    if _SECRET_MEMBERS & jwk.keys():
        raise InvalidClientMetadata("jwks must have public keys only; a private one that was sent is to be replaced")
    key = _public_key(jwk)
    alg = ES256 if isinstance(key, EllipticCurvePublicKey) else RS256
    operations = jwk.get("key_ops", ["verify"])
    verifies = isinstance(operations, list) and "verify" in operations
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", alg) != alg or not verifies:
        raise InvalidClientMetadata(f"this key in jwks must be for signatures by {alg}")
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid) > _KID_LENGTH or not kid.isprintable():
        raise InvalidClientMetadata(f"a kid in jwks must have at most {_KID_LENGTH} printable characters")
    return ClientKey(kid, alg, key)


def _public_key(jwk: Mapping[str, Any]) -> EllipticCurvePublicKey | RSAPublicKey:
    read = {"EC": ECAlgorithm.from_jwk, "RSA": RSAAlgorithm.from_jwk}.get(str(jwk.get("kty")))
    try:
        key = read(dict(jwk)) if read else None
    except (jwt.InvalidKeyError, ValueError, TypeError) as error:
        raise InvalidClientMetadata("a key in jwks is malformed") from error
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    if isinstance(key, RSAPublicKey) and key.key_size in _RSA_BITS and key.public_numbers().e in _RSA_EXPONENTS:
        return key
    raise InvalidClientMetadata(
        f"each key in jwks must be on the curve P-256, or RSA of {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits"
    )
