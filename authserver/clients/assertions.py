"""JWTs by which clients prove who they are (RFC 7523 §3), judged by what was registered and nothing that they bring."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from authserver.clients.keys import ES256, RS256, ClientKey
from mesh.security.jwt_values import media_type, numeric_dates, sole_audience

# What client libraries choose if told nothing. Each assertion passes once, so a long life is of little use to others.
MAX_SECONDS = 3600
LEEWAY_SECONDS = 30  # how far a client's clock may be off
_MAX_BYTES = 8 * 1024
_JTI_LENGTH = 255
_ID_LENGTH = 64  # of every client id
# RFC 7523 asks for no type. What declares another one, however, was signed for another purpose (RFC 8725 §3.11).
_TYPES = frozenset({"", "application/jwt", "application/client-authentication+jwt"})
# Nobody has signed with these. Tried where there is no key to try, so that this takes as long as a wrong signature.
_NOBODY = {
    ES256: ClientKey("", ES256, generate_private_key(SECP256R1()).public_key()),
    RS256: ClientKey("", RS256, RSAPublicNumbers(65537, 2**2047 + 1).public_key()),
}
_OPTIONS: Any = {
    "require": ["iss", "sub", "aud", "exp", "jti"],
    # Judged below: by what was registered, and by the clock that was passed in.
    **dict.fromkeys(("verify_aud", "verify_iss", "verify_exp", "verify_iat", "verify_nbf"), False),
}


class AssertionRejected(Exception):
    """An assertion that proves nothing. Nobody is told why."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion that holds, if it was not used before.

    Attributes:
        jti_digest: SHA-256 of its `jti`.
        expire_time: When it is refused as expired, in milliseconds since the epoch.

    """

    jti_digest: bytes
    expire_time: int


def client_id_of(token: str) -> str:
    """Return whose assertion this claims to be, which proves nothing; the empty text if that can't be any client."""
    try:
        sub = _unverified(token)[1].get("sub")
    except AssertionRejected:
        return ""
    return sub if isinstance(sub, str) and len(sub) <= _ID_LENGTH and sub.isprintable() else ""


def verify_assertion(
    token: str, keys: Sequence[ClientKey], *, client_id: str, audiences: frozenset[str], now: float
) -> Assertion:
    """Return an assertion that the client's keys and claims speak for.

    Args:
        token: The assertion.
        keys: The client's keys; none if there is no such client, which takes as long.
        client_id: What `iss` and `sub` must be.
        audiences: One of these, and nothing else, must be `aud`.
        now: Seconds since the epoch.

    Raises:
        AssertionRejected: If it proves nothing.

    """
    header, claims = _unverified(token)
    _check_signature(token, header, keys)
    if media_type(header) not in _TYPES:
        raise AssertionRejected("of another type")
    if not claims["iss"] == claims["sub"] == client_id:
        raise AssertionRejected("another client's")
    if sole_audience(claims) not in audiences:
        raise AssertionRejected("for another server, or for several")
    jti = claims["jti"]
    if not isinstance(jti, str) or not 0 < len(jti) <= _JTI_LENGTH or not jti.isprintable():
        raise AssertionRejected("no usable jti")
    expiry = _check_times(claims, now)
    return Assertion(hashlib.sha256(jti.encode()).digest(), math.ceil((expiry + LEEWAY_SECONDS) * 1000))


def _unverified(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if len(token) > _MAX_BYTES:
        raise AssertionRejected("too long")
    if "=" in token:  # PyJWT takes padding, which RFC 7515 §2 excludes
        raise AssertionRejected("not a JWT")
    try:
        decoded = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise AssertionRejected("not a JWT") from error
    return decoded["header"], decoded["payload"]


def _check_signature(token: str, header: Mapping[str, Any], keys: Sequence[ClientKey]) -> None:
    """Return if one of the keys signed the token, by the key's own algorithm, and the claims that must be there are."""
    alg, kid = header.get("alg"), header.get("kid")
    fitting = [key for key in keys if key.alg == alg and (kid is None or key.kid in {"", kid})]
    for key in fitting or [_NOBODY.get(str(alg), _NOBODY[ES256])]:
        try:
            jwt.decode_complete(token, key.key, algorithms=[key.alg], options=_OPTIONS)
        except jwt.PyJWTError:
            continue
        if fitting:
            return
    raise AssertionRejected("signed by none of the client's keys")


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    """Return when a token expires, if that is soon and not yet."""
    try:
        times = numeric_dates(claims)
    except ValueError as error:
        raise AssertionRejected(str(error)) from error
    if not now - LEEWAY_SECONDS < times["exp"] <= now + MAX_SECONDS + LEEWAY_SECONDS:
        raise AssertionRejected("expired, or good for too long")
    if max(times.get("iat", 0), times.get("nbf", 0)) > now + LEEWAY_SECONDS:
        raise AssertionRejected("not valid yet")
    if times.get("iat", now) < now - MAX_SECONDS - LEEWAY_SECONDS:
        raise AssertionRejected("issued too long ago")
    return times["exp"]
