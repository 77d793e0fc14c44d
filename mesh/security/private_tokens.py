"""Private access tokens: what the gateway hands to backends in place of the caller's own token."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from mesh.access.rules import Caller, ClientType
from mesh.errors import Code, ServiceError
from mesh.security import signed_jwt
from mesh.single_flight import SingleFlight

TYP = "pat+jwt"

Keys: TypeAlias = Mapping[str, EllipticCurvePublicKey]

# Between two attempts to get keys while those at hand will do.
_REFETCH_SECONDS = 10.0
# Keys older than this are asked for again, so that a key withdrawn at the auth server is dropped here too …
_FRESH_SECONDS = 30.0
# … and, while the auth server does not answer, are used up to this age.
_MAX_AGE_SECONDS = 300.0


class InvalidPrivateToken(ServiceError):
    """The call carries no private access token that is good here and now."""

    code = Code.UNAUTHENTICATED


def claims_of(caller: Caller) -> dict[str, str]:
    """Return the claims that say whom a token speaks for."""
    return {
        "client_id": caller.client_id,
        "client_type": caller.client_type,
        "platform_id": caller.platform_id,
        "partner_id": caller.partner_id,
        "scope": " ".join(sorted(caller.scopes)),
    }


def caller_of(claims: Mapping[str, Any]) -> Caller:
    """Return whom a verified token speaks for.

    Raises:
        ValueError: If a claim is missing or is no text, or the client type is unknown.

    """
    texts = {name: claims.get(name) for name in ("client_id", "client_type", "platform_id", "partner_id", "scope")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a claim that says whom the token speaks for is missing")
    return Caller(
        client_id=claims["client_id"],
        client_type=ClientType(claims["client_type"]),
        platform_id=claims["platform_id"],
        partner_id=claims["partner_id"],
        scopes=frozenset(claims["scope"].split()),
    )


class PrivateTokenVerifier:
    """Verifies private access tokens offline, against the auth server's published keys.

    Args:
        fetch_keys: Gets the keys that are published now.
        issuer: The auth server.
        audience: The name of this backend.
        clock: Seconds since the epoch.

    """

    def __init__(
        self, fetch_keys: Callable[[], Awaitable[Keys]], issuer: str, audience: str, clock: Callable[[], float]
    ) -> None:
        """Start without keys; the first token fetches them."""
        self._fetch_keys = fetch_keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._keys: Keys = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetches = SingleFlight[None, None]()

    async def verify(self, token: str) -> Caller:
        """Return whom the token speaks for.

        Raises:
            InvalidPrivateToken: If the token is forged, expired, for another backend, or no private access token.

        """
        try:
            claims = signed_jwt.verify(
                token,
                await self._keys_for(signed_jwt.kid_of(token)),
                typ=TYP,
                issuer=self._issuer,
                audience=self._audience,
                now=self._clock(),
            )
            return caller_of(claims)
        except (signed_jwt.JwtRejected, ValueError) as error:
            raise InvalidPrivateToken(f"the private access token is not good here: {error}") from error

    async def _keys_for(self, kid: str) -> Keys:
        """Return the cached keys; fetch them first if they lack `kid` or are not fresh, unless that was just tried.

        Keys that are old are fetched in any case; others will do if they can't be fetched now and have `kid`.
        """
        now = self._clock()
        age = now - self._fetched_at
        if age > _MAX_AGE_SECONDS:
            await self._fetches.do(None, self._fetch)
        elif (age > _FRESH_SECONDS or kid not in self._keys) and now - self._tried_at > _REFETCH_SECONDS:
            try:
                await self._fetches.do(None, self._fetch)
            except ServiceError:
                if kid not in self._keys:
                    raise
        return self._keys

    async def _fetch(self) -> None:
        try:
            self._keys = await self._fetch_keys()
            self._fetched_at = self._clock()
        finally:
            self._tried_at = self._clock()
