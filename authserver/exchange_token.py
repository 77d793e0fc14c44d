"""Exchanges access tokens for private access tokens (RFC 8693)."""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection

from authserver.access_tokens import AccessToken, TokenRejected, TokenSealer
from authserver.errors import InvalidTarget, InvalidToken
from authserver.key_ring import KeyRing
from authserver.store import find_client
from mesh import private_tokens, signed_jwt
from mesh.access.rules import Caller

_JTI_BYTES = 12


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A private access token and what goes with it.

    Attributes:
        private_token: The private access token, a JWT.
        expires_in: Seconds until it expires.
        subject_token_expires_in: Seconds until the access token expires.
        caller: Whom both speak for.

    """

    private_token: str
    expires_in: int
    subject_token_expires_in: int
    caller: Caller


def open_access_token(connection: Connection, sealer: TokenSealer, sealed: str, now: float) -> AccessToken:
    """Return what an access token says, if it still holds.

    Raises:
        InvalidToken: If the token was not sealed here, is expired, or was revoked. Which of these, the caller is
            not told: none of them can be mended but by a new token.

    """
    try:
        token = sealer.open(sealed)
    except TokenRejected as error:
        raise InvalidToken(_REFUSAL) from error
    client = find_client(connection, token.caller.client_id) if now < token.expire_time else None
    if client is None or client.epochs != token.epochs:
        raise InvalidToken(_REFUSAL)
    return token


_REFUSAL = "the access token is malformed, expired or revoked; take a new one"


class TokenExchange:
    """Makes private access tokens.

    Args:
        key_ring: The key that signs them.
        issuer: The `iss` in them.
        audiences: The backends that they may be made for.
        ttl_seconds: How long they live at most.

    """

    def __init__(self, key_ring: KeyRing, *, issuer: str, audiences: frozenset[str], ttl_seconds: int) -> None:
        """Remember the settings."""
        self._key_ring = key_ring
        self._issuer = issuer
        self._audiences = audiences
        self._ttl_seconds = ttl_seconds

    def exchange(self, connection: Connection, sealed: str, audience: str, now: float) -> Exchanged:
        """Return a private access token for one backend. It expires no later than the access token.

        Raises:
            InvalidTarget: If the audience is no backend known here.
            InvalidToken: If the access token does not hold.

        """
        if audience not in self._audiences:
            raise InvalidTarget("no private access token can be made for this audience")
        token = open_access_token(connection, self._key_ring.sealer, sealed, now)
        issued = int(now)
        expires = min(issued + self._ttl_seconds, token.expire_time)
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "iat": issued,
            "exp": expires,
            "jti": secrets.token_hex(_JTI_BYTES),
            **private_tokens.claims_of(token.caller),
        }
        private_token = signed_jwt.sign(self._key_ring.signing_key, private_tokens.TYP, claims)
        return Exchanged(private_token, int(expires - now), int(token.expire_time - now), token.caller)
