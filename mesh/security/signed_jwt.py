"""JWTs signed by ES256 (RFC 7519, RFC 8725), each of one declared type."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

_ALGORITHM = "ES256"
_MAX_BYTES = 8 * 1024
_LEEWAY_SECONDS = 5  # how far the clocks of issuer and verifier may be apart


class JwtRejected(Exception):
    """A token that proves nothing; the message says why, and is safe to show."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A P-256 private key and its id, the thumbprint of its public key (RFC 7638)."""

    kid: str
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def from_pem(cls, pem: bytes) -> "SigningKey":
        """Read a key from PKCS #8 PEM.

        Raises:
            ValueError: If it is not a P-256 private key.

        """
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("not a P-256 private key")  # noqa: TRY004 - the value is wrong: what is in the file, not what was passed
        return cls(_thumbprint(key.public_key()), key)

    def public_jwk(self) -> dict[str, str]:
        """Return the public key as a JWK (RFC 7517)."""
        jwk: dict[str, str] = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**jwk, "use": "sig", "alg": _ALGORITHM, "kid": self.kid}


def create_pem() -> bytes:
    """Make a new P-256 private key, as PKCS #8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_keys(jwks: Mapping[str, Any]) -> dict[str, ec.EllipticCurvePublicKey]:
    """Return the keys of a JWK set, by their id.

    Raises:
        JwtRejected: If the set has anything but P-256 public keys with an id.

    """
    try:
        return dict(map(_public_key, jwks["keys"]))
    except (KeyError, TypeError, ValueError, jwt.InvalidKeyError) as error:
        raise JwtRejected("not a set of P-256 public keys, each with a kid") from error


def sign(key: SigningKey, typ: str, claims: Mapping[str, Any]) -> str:
    """Sign claims as a JWT of a type (RFC 8725 §3.11)."""
    return jwt.encode(dict(claims), key.key, algorithm=_ALGORITHM, headers={"typ": typ, "kid": key.kid})


def kid_of(token: str) -> str:
    """Return the id of the key that a token says it was signed with.

    Raises:
        JwtRejected: If the token has no readable header with a kid.

    """
    if len(token) > _MAX_BYTES:
        raise JwtRejected("the token is too long")
    if "=" in token:  # PyJWT takes padding, which RFC 7515 §2 excludes: a token is to have one spelling
        raise JwtRejected("not a JWT")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError as error:
        raise JwtRejected("not a JWT") from error
    if not isinstance(kid, str):
        raise JwtRejected("the token names no key")
    return kid


def verify(
    token: str,
    keys: Mapping[str, ec.EllipticCurvePublicKey],
    *,
    typ: str,
    issuer: str,
    audience: str,
    now: float,
) -> dict[str, Any]:
    """Return the claims of a token that one of the keys signed, for this audience, and that is good now.

    The algorithm is ES256 and the key one of `keys`, whatever the token's header says beyond the key's id. `iss`,
    `aud` (one string), `iat`, `exp` and `jti` must be there.

    Raises:
        JwtRejected: If any of this is not so.

    """
    key = keys.get(kid_of(token))
    if key is None:
        raise JwtRejected("signed with a key that is not known here")
    try:
        decoded = jwt.decode_complete(
            token,
            key,
            algorithms=[_ALGORITHM],
            issuer=issuer,
            audience=audience,
            options={
                "require": ["iss", "aud", "iat", "exp", "jti"],
                "strict_aud": True,
                # Times are judged below, by the clock that was passed in.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.PyJWTError as error:
        raise JwtRejected("signature, issuer, audience or a required claim is wrong") from error
    header, claims = decoded["header"], decoded["payload"]
    if str(header.get("typ", "")).lower() != typ:
        raise JwtRejected(f"not of the type {typ}")
    _check_times(claims, now)
    return dict(claims)


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    times = [claims[name] for name in ("iat", "nbf", "exp") if name in claims]
    if any(isinstance(time, bool) or not isinstance(time, int) for time in times):
        raise JwtRejected("a time claim is not a whole number")
    if now >= claims["exp"] + _LEEWAY_SECONDS:
        raise JwtRejected("expired")
    if now < max(claims["iat"], claims.get("nbf", 0)) - _LEEWAY_SECONDS:
        raise JwtRejected("not valid yet")


def _public_key(jwk: Mapping[str, Any]) -> tuple[str, ec.EllipticCurvePublicKey]:
    key, kid = ECAlgorithm.from_jwk(dict(jwk)), jwk["kid"]
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1) or "d" in jwk:
        raise jwt.InvalidKeyError("not a P-256 public key")
    if not isinstance(kid, str):
        raise jwt.InvalidKeyError("the kid is no text")
    return kid, key


def _thumbprint(key: ec.EllipticCurvePublicKey) -> str:
    jwk = ECAlgorithm.to_jwk(key, as_dict=True)
    members = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
