"""What clients that have authenticated do with access tokens by either protocol: take, revoke and ask about them."""

from collections.abc import Callable

from authserver.access_tokens import AccessToken
from authserver.audit.trail import Trail
from authserver.clients.store.clients import Client
from authserver.errors import InvalidToken
from authserver.keys.ring import KeyRing
from authserver.revocation.feed import Feed
from authserver.tokens.exchange import TokenChecker
from authserver.tokens.issue import IssuedToken, issue_token
from authserver.tokens.revoke import revoke_token
from mesh.access.rules import ClientType


class ClientTokens:
    """Issues access tokens, revokes them, and says what they are.

    Args:
        key_ring: What they are sealed with.
        tokens: Tells which of them hold.
        feed: Told of each that is revoked.
        trail: Where that is recorded.
        clock: Seconds since the epoch.
        ttl_seconds: How long they live.

    """

    def __init__(
        self,
        key_ring: KeyRing,
        tokens: TokenChecker,
        feed: Feed,
        trail: Trail,
        *,
        clock: Callable[[], float],
        ttl_seconds: int,
    ) -> None:
        self._key_ring = key_ring
        self._tokens = tokens
        self._feed = feed
        self._trail = trail
        self._clock = clock
        self._ttl_seconds = ttl_seconds

    async def issue(self, client: Client, scope: str) -> IssuedToken:
        """Issue a token.

        Raises:
            InvalidScope: If the scope goes beyond the client's.
            DatabaseUnavailable: If the database is needed, and can't be reached.

        """
        await self._key_ring.catch_up()
        return issue_token(self._key_ring.sealer, client, scope, now=self._clock(), ttl_seconds=self._ttl_seconds)

    async def revoke(self, client: Client, token: str) -> None:
        """End a token if it is the client's own.

        Raises:
            DatabaseUnavailable: If the database can't be reached.

        """
        # What can't be opened is passed over in silence: it must not be what another replica has just sealed.
        await self._feed.follow()
        await self._key_ring.catch_up()
        await self._feed.run(
            lambda connection: revoke_token(
                connection, self._trail, self._key_ring.sealer, client.client_id, token, self._clock()
            )
        )

    async def introspect(self, client: Client, token: str) -> AccessToken | None:
        """Return what a token says; None if it does not hold, or is not the client's to know.

        Raises:
            DatabaseUnavailable: If the database is needed, and can't be reached.

        """
        return await introspect_token(self._tokens, client, token)


async def introspect_token(tokens: TokenChecker, client: Client, sealed: str) -> AccessToken | None:
    """Return what a token says, to a client that has authenticated; None if it does not hold, or is not theirs to know.

    A client may know of its own tokens, a Master Client of all its platform's.

    Raises:
        DatabaseUnavailable: If the database is needed, and can't be reached.

    """
    try:
        token = (await tokens.check(sealed)).token
    except InvalidToken:
        return None
    its_own = token.caller.client_id == client.client_id
    its_platforms = client.client_type == ClientType.MASTER and token.caller.platform_id == client.platform_id
    return token if its_own or its_platforms else None
