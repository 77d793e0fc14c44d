"""Client authentication (RFC 6749 §2.3)."""

from collections.abc import Callable

from authserver.client_cache import ClientCache
from authserver.client_secrets import Peppers
from authserver.errors import InvalidClient, TooManyFailures
from authserver.refusals import Refusals
from authserver.secret_uses import SecretUses
from authserver.store.clients import Client
from mesh.timestamps import to_ms


class Authenticator:
    """Tells clients by their secrets.

    Args:
        clients: Where they are found.
        peppers: What secrets are digested with.
        uses: Told of each secret that is used.
        refusals: Told of each failure.
        clock: Seconds since the epoch.

    """

    def __init__(
        self,
        clients: ClientCache,
        peppers: Peppers,
        uses: SecretUses,
        refusals: Refusals,
        clock: Callable[[], float],
    ) -> None:
        """Remember what it takes."""
        self._clients = clients
        self._peppers = peppers
        self._uses = uses
        self._refusals = refusals
        self._clock = clock

    async def authenticate(self, client_id: str, client_secret: str, address: str = "") -> Client:
        """Return the client that the id and the secret belong to.

        The right secret always passes, however often others have failed: nobody can lock a client out.

        Args:
            client_id: The id.
            client_secret: The secret.
            address: Where the call came from; empty if that is not known.

        Raises:
            InvalidClient: If there is no such client, the secret is wrong, or the client is blocked: the same words,
                after the same work.
            TooManyFailures: Instead of that, if the client id, or someone at this address, has failed often.

        """
        found = await self._clients.find(client_id)
        proven = self._proves(found.client, client_secret)
        if found.from_memory and not proven:
            # What was in memory may be older than the secret. And so a wrong one takes as long as an unknown client.
            found = await self._clients.find_in_database(client_id)
            proven = self._proves(found.client, client_secret)
        if not proven or found.client is None:
            if wait := self._refusals.note(client_id, address):
                raise TooManyFailures(wait)
            raise InvalidClient("client authentication failed: unknown client or wrong secret")
        return found.client

    def _proves(self, client: Client | None, presented: str) -> bool:
        if client is None:
            return self._peppers.matches(presented, self._peppers.no_digest)  # never true
        now_ms = to_ms(self._clock())
        for secret in client.secrets:
            if self._peppers.matches(presented, secret.digest) and secret.works_at(now_ms) and not client.blocked:
                self._uses.note(secret, presented, now_ms)
                return True
        return False
