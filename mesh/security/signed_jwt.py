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

from mesh.security.jwt_values import media_type, numeric_dates, sole_audience

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
    """Return the keys of a JWK set that verify ES256, by their id. Other kinds of keys are ignored (RFC 7517 §5).

    Raises:
        JwtRejected: If it is not a JWK set, has other kinds of keys only, or a private key.

    """
    keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(keys, list) or not all(isinstance(jwk, Mapping) for jwk in keys):
        raise JwtRejected("not a JWK set")
    if any("d" in jwk for jwk in keys):
        raise JwtRejected("a set of public keys has a private one, which is to be replaced")
    usable = dict(filter(None, map(_public_key, keys)))
    if keys and not usable:
        raise JwtRejected("the set has no P-256 public key for signatures with a kid")
    return usable


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
    `aud` (this audience alone), `iat`, `exp` and `jti` must be there.

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
            options={
                "require": ["iss", "aud", "iat", "exp", "jti"],
                # Judged below: times by the clock that was passed in.
                "verify_aud": False,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.PyJWTError as error:
        raise JwtRejected("signature, issuer or a required claim is wrong") from error
    header, claims = decoded["header"], decoded["payload"]
    if media_type(header) != f"application/{typ}":
        raise JwtRejected(f"not of the type {typ}")
    if sole_audience(claims) != audience:
        raise JwtRejected("for another audience, or for several")
    _check_times(claims, now)
    return dict(claims)


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    try:
        times = numeric_dates(claims)
    except ValueError as error:
        raise JwtRejected(str(error)) from error
    if now >= times["exp"] + _LEEWAY_SECONDS:
        raise JwtRejected("expired")
    if now < max(times["iat"], times.get("nbf", 0)) - _LEEWAY_SECONDS:
        raise JwtRejected("not valid yet")


def _public_key(jwk: Mapping[str, Any]) -> tuple[str, ec.EllipticCurvePublicKey] | None:
    """Return the key and its id; None if it is of another kind."""
    try:
        key = ECAlgorithm.from_jwk(dict(jwk))
    except (TypeError, ValueError, jwt.InvalidKeyError):
        return None
    kid, use, alg = jwk.get("kid"), jwk.get("use", "sig"), jwk.get("alg", _ALGORITHM)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return None
    return (kid, key) if isinstance(kid, str) and (use, alg) == ("sig", _ALGORITHM) else None


def _thumbprint(key: ec.EllipticCurvePublicKey) -> str:
    jwk = ECAlgorithm.to_jwk(key, as_dict=True)
    members = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
