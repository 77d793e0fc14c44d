"""Client authentication (RFC 6749 §2.3, RFC 7523 §2.2)."""

from collections.abc import Callable
from dataclasses import dataclass

from authserver.clients.assertions import Assertion, AssertionRejected, client_id_of, verify_assertion
from authserver.clients.authentication_method import AuthMethod
from authserver.clients.cache import ClientCache
from authserver.clients.presented import Presented, PresentedAssertion, PresentedSecret
from authserver.clients.refusals import Refusals
from authserver.clients.secret_uses import SecretUses
from authserver.clients.secrets import Peppers
from authserver.clients.store.clients import Client
from authserver.clients.store.used_assertions import use_assertion
from authserver.errors import InvalidClient, TooManyFailures
from mesh.storage.database import Database
from mesh.timestamps import to_ms


@dataclass(frozen=True, slots=True)
class Proof:
    """That a client is who it says; by an assertion, if that was not used before.

    Attributes:
        client: The client.
        assertion: What it proved that by; None if that was a secret.
        is_registered_method: Whether it did so by the method that it is registered for.

    """

    client: Client
    assertion: Assertion | None = None
    is_registered_method: bool = True


class Judge:
    """Judges what is presented by what was registered, in memory alone.

    Args:
        peppers: What secrets are digested with.
        uses: Told of each secret that is used.
        audiences: What the `aud` of an assertion may be.
        clock: Seconds since the epoch.

    """

    def __init__(
        self, peppers: Peppers, uses: SecretUses, audiences: frozenset[str], clock: Callable[[], float]
    ) -> None:
        self._peppers = peppers
        self._uses = uses
        self._audiences = audiences
        self._clock = clock

    def judge(self, client: Client | None, client_id: str, presented: Presented) -> Proof | None:
        """Return what is proven; None, after the same work, if the client is unknown or nothing is."""
        if isinstance(presented, PresentedSecret):
            return self._judge_secret(client, presented)
        return self._judge_assertion(client, client_id, presented)

    def _judge_secret(self, client: Client | None, presented: PresentedSecret) -> Proof | None:
        if client is None or not client.secrets:
            self._peppers.matches(presented.client_secret, self._peppers.no_digest)  # never true
            return None
        now_ms = to_ms(self._clock())
        for secret in client.secrets:
            proven = self._peppers.matches(presented.client_secret, secret.digest)
            if proven and secret.works_at(now_ms) and not client.blocked:
                if client.authentication.method not in presented.methods:
                    return Proof(client, is_registered_method=False)
                self._uses.note(secret, presented.client_secret, now_ms)
                return Proof(client)
        return None

    def _judge_assertion(self, client: Client | None, client_id: str, presented: PresentedAssertion) -> Proof | None:
        registered = client is not None and client.authentication.method is AuthMethod.PRIVATE_KEY_JWT
        keys = client.authentication.keys if client is not None and registered else ()
        try:
            assertion = verify_assertion(
                presented.client_assertion, keys, client_id=client_id, audiences=self._audiences, now=self._clock()
            )
        except AssertionRejected:
            return None
        return None if client is None or client.blocked else Proof(client, assertion)


class Authenticator:
    """Tells clients by what they present.

    Args:
        database: Where it is recorded which assertions were used.
        clients: Where clients are found.
        judge: Judges what they present.
        refusals: Told of each failure.

    """

    def __init__(self, database: Database, clients: ClientCache, judge: Judge, refusals: Refusals) -> None:
        self._database = database
        self._clients = clients
        self._judge = judge
        self._refusals = refusals

    async def authenticate(self, presented: Presented, address: str = "") -> Client:
        """Return the client that what is presented belongs to. Uses an assertion up; with a secret it writes nothing.

        The right secret or assertion always passes, however often others have failed: nobody can lock a client out.
        Who presents the right secret by another method than the registered one is told so, and it counts as no failure.

        Args:
            presented: The secret or the assertion.
            address: Where the call came from; empty if that is not known.

        Raises:
            InvalidClient: If the right secret was presented by another method than the registered one. Also, in the
                same words and after the same work, if there is no such client, the secret is wrong, the assertion
                proves nothing or was used before, or the client is blocked.
            TooManyFailures: Instead of that, if the client id, or someone at this address, has failed often.
            DatabaseUnavailable: If the database is needed, and can't be reached.

        """
        client_id = presented.client_id
        if isinstance(presented, PresentedAssertion):
            client_id = client_id or client_id_of(presented.client_assertion)
        found = await self._clients.find(client_id)
        proof = self._judge.judge(found.client, client_id, presented)
        if found.from_memory and (proof is None or not proof.is_registered_method):
            # What was in memory may be older than the secret or the method. And so a wrong secret takes as long as an
            # unknown client.
            found = await self._clients.find_in_database(client_id)
            proof = self._judge.judge(found.client, client_id, presented)
        if proof is None or not await self._is_first_use(proof):
            if wait := self._refusals.note(client_id, address):
                raise TooManyFailures(wait)
            raise InvalidClient("client authentication failed: unknown client, or wrong credentials or method")
        if not proof.is_registered_method:
            registered = proof.client.authentication.method
            raise InvalidClient(f"the secret is right, but this client is registered for another method: {registered}")
        return proof.client

    async def _is_first_use(self, proof: Proof) -> bool:
        """Use the assertion up, if there is one: after all else, so that nobody but the client can."""
        assertion, client_id = proof.assertion, proof.client.client_id
        if assertion is None:
            return True
        return await self._database.run(
            lambda connection: use_assertion(connection, client_id, assertion.jti_digest, assertion.expire_time)
        )
