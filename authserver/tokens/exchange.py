"""Exchanges access tokens for private access tokens (RFC 8693)."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from authserver.access_tokens import AccessToken, TokenRejected
from authserver.clients.cache import ClientCache
from authserver.clients.store.clients import Client
from authserver.errors import InvalidTarget, InvalidToken
from authserver.keys.ring import KeyRing
from authserver.revocation.feed import Feed
from authserver.tokens.revoke import token_digest
from mesh.access.rules import Caller
from mesh.security import private_tokens, signed_jwt

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant type (RFC 8693 §2.1)
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a token type (RFC 8693 §3)
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"

_JTI_BYTES = 12
_REFUSAL = "the access token is malformed, expired or revoked; take a new one"


@dataclass(frozen=True, slots=True)
class PrivateToken:
    """A private access token and what goes with it.

    Attributes:
        private_token: The private access token, a JWT.
        expires_in: Seconds until it expires.
        subject_token_expires_in: Seconds until the access token expires.
        caller: Whom both speak for.
        position: The position of the feed that all this holds at.

    """

    private_token: str
    expires_in: int
    subject_token_expires_in: int
    caller: Caller
    position: int


@dataclass(frozen=True, slots=True)
class LiveToken:
    """An access token that holds, at a position of the feed."""

    token: AccessToken
    position: int


class TokenChecker:
    """Tells which access tokens hold.

    Args:
        key_ring: The keys that they are sealed with.
        clients: Whom they were issued to.
        feed: What was revoked.
        clock: Seconds since the epoch.

    """

    def __init__(self, key_ring: KeyRing, clients: ClientCache, feed: Feed, clock: Callable[[], float]) -> None:
        self._key_ring = key_ring
        self._clients = clients
        self._feed = feed
        self._clock = clock

    async def check(self, sealed: str, at_least: int = 0) -> LiveToken:
        """Return what an access token says, if it holds still, at a position of the feed or later.

        Raises:
            InvalidToken: If the token was not sealed here, is expired, or was revoked. Which of these, the caller is
                not told: none of them can be mended but by a new token.
            ReplicaBehind: If this server can't come to the position.
            DatabaseUnavailable: If the database is needed, and can't be reached.

        """
        await self._feed.catch_up(at_least)
        await self._key_ring.catch_up()
        position = self._feed.position  # what is heard from here on may have retired the key
        try:
            token = self._key_ring.sealer.open(sealed)
        except TokenRejected as error:
            raise InvalidToken(_REFUSAL) from error
        found = await self._clients.find(token.caller.client_id)
        if not _holds(token, sealed, found.client, self._clock()):
            raise InvalidToken(_REFUSAL)
        return LiveToken(token, min(position, found.position))


def _holds(token: AccessToken, sealed: str, client: Client | None, now: float) -> bool:
    return (
        client is not None
        and now < token.expire_time
        and client.epochs == token.epochs
        and not client.blocked
        and not (client.revoked_tokens and token_digest(sealed) in client.revoked_tokens)
    )


class TokenExchange:
    """Makes private access tokens.

    Args:
        tokens: Tells which access tokens hold.
        key_ring: The key that signs.
        clock: Seconds since the epoch.
        issuer: The `iss` in them.
        audiences: The backends that they may be made for.
        ttl_seconds: How long they live at most.

    """

    def __init__(
        self,
        tokens: TokenChecker,
        key_ring: KeyRing,
        clock: Callable[[], float],
        *,
        issuer: str,
        audiences: frozenset[str],
        ttl_seconds: int,
    ) -> None:
        self._tokens = tokens
        self._key_ring = key_ring
        self._clock = clock
        self._issuer = issuer
        self._audiences = audiences
        self._ttl_seconds = ttl_seconds

    async def exchange(self, sealed: str, audience: str, at_least: int) -> PrivateToken:
        """Return a private access token for one backend, of the same scope. It expires no later than the access token.

        Raises:
            InvalidTarget: If the audience is no backend known here.
            InvalidToken: If the access token does not hold.
            ReplicaBehind: If this server has not come as far in the feed as `at_least`, and can't.
            DatabaseUnavailable: If the database is needed, and can't be reached.

        """
        if audience not in self._audiences:
            raise InvalidTarget("no private access token can be made for this audience")
        live = await self._tokens.check(sealed, at_least)
        token, now = live.token, self._clock()
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
        return PrivateToken(
            private_token, int(expires - now), int(token.expire_time - now), token.caller, live.position
        )
