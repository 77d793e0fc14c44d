"""The public keys that clients sign their assertions with: JWK sets (RFC 7517), given at registration."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
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
        kid: Its name, unique among the client's of the same algorithm; empty if it has none.
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
    """Return the keys of a JWK set that can verify assertions; the set comes as JSON.

    Keys of other types, sizes and uses are ignored (RFC 7517 §5): a client may publish one set for all that it does.

    Raises:
        InvalidClientMetadata: If it is not a JWK set, none or too many of its keys can be used, or one is private or
            malformed.

    """
    if len(jwks) > _MAX_BYTES:
        raise InvalidClientMetadata(f"jwks must have at most {_MAX_BYTES} characters")
    try:
        parsed = json.loads(jwks)
    except (ValueError, RecursionError) as error:
        raise InvalidClientMetadata("jwks must be a JWK set (RFC 7517 §5), as JSON") from error
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or not all(isinstance(jwk, dict) for jwk in listed):
        raise InvalidClientMetadata("jwks must be a JWK set (RFC 7517 §5): an object with keys, a list of objects")
    if any(_SECRET_MEMBERS & jwk.keys() for jwk in listed):
        raise InvalidClientMetadata("jwks must have public keys only; a private one that was sent is to be replaced")
    keys = tuple(filter(None, map(_parse_key, listed)))
    if not 1 <= len(keys) <= _MAX_KEYS:
        raise InvalidClientMetadata(
            f"jwks must have 1 to {_MAX_KEYS} keys for signatures: on the curve P-256 ({ES256}), or RSA of "
            f"{_RSA_BITS[0]} to {_RSA_BITS[-1]} bits ({RS256}); it has {len(keys)}"
        )
    names = [(key.kid, key.alg) for key in keys if key.kid]
    if len(names) != len(set(names)):
        raise InvalidClientMetadata("no two keys in jwks may have the same kid and alg")
    return keys


def format_keys(keys: Sequence[ClientKey]) -> str:
    """Return keys as a JWK set in JSON; the empty text if there are none."""
    return json.dumps({"keys": [key.as_jwk() for key in keys]}, separators=(",", ":")) if keys else ""


def _parse_key(jwk: Mapping[str, Any]) -> ClientKey | None:
    """Return a key; None if it is of another kind.

    Raises:
        InvalidClientMetadata: If it is of this kind, and malformed.

    """
    kty, is_ec = jwk.get("kty"), (jwk.get("kty"), jwk.get("crv")) == ("EC", "P-256")
    alg = ES256 if is_ec else RS256
    operations = jwk.get("key_ops", ["verify"])
    verifies = isinstance(operations, list) and "verify" in operations
    if not (is_ec or kty == "RSA") or (jwk.get("use", "sig"), jwk.get("alg", alg)) != ("sig", alg) or not verifies:
        return None
    try:
        key = (ECAlgorithm if is_ec else RSAAlgorithm).from_jwk(dict(jwk))
    except (jwt.InvalidKeyError, ValueError, TypeError) as error:
        raise InvalidClientMetadata("a key in jwks is malformed") from error
    if isinstance(key, RSAPublicKey):
        if key.key_size not in _RSA_BITS or key.public_numbers().e not in _RSA_EXPONENTS:
            return None
    elif not isinstance(key, EllipticCurvePublicKey):
        return None
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid) > _KID_LENGTH or not kid.isprintable():
        raise InvalidClientMetadata(f"a kid in jwks must have at most {_KID_LENGTH} printable characters")
    return ClientKey(kid, alg, key)
