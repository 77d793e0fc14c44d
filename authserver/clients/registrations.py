"""Registers, shows, changes and deletes the clients of a platform's partners, whatever the protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients.authentication_method import BY_SECRET, CLIENT_CREDENTIALS, ClientAuthentication
from authserver.clients.owned import delete_client, find_owned_client, update_client
from authserver.clients.register import Credentials, Registration, register_client
from authserver.clients.registration_access import RegistrationAccess
from authserver.clients.secrets import Peppers
from authserver.clients.software_statements import StatementIssuer, verify_statement
from authserver.clients.store.clients import Client
from authserver.errors import InvalidClientMetadata
from authserver.revocation.feed import Feed
from authserver.tables import NAME_LENGTH
from mesh.access.rules import Caller
from mesh.crash_points import crash_point
from mesh.readable_text import fault_of
from mesh.storage.database import Database
from mesh.timestamps import to_ms


@dataclass(frozen=True, slots=True)
class Registered:
    """A client that was just registered.

    Attributes:
        credentials: The client and its secret.
        registration_access_token: What manages it by HTTP; empty unless that was asked for.

    """

    credentials: Credentials
    registration_access_token: str = field(default="", repr=False)


class Registrations:
    """The registered clients.

    Args:
        database: Where they are.
        feed: Told of each change.
        issuers: Whose software statements count.
        peppers: What secrets are digested with.
        trail: Where each change is recorded.
        audience: The `aud` of software statements.
        clock: Seconds since the epoch.

    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        issuers: tuple[StatementIssuer, ...],
        peppers: Peppers,
        trail: Trail,
        *,
        audience: str,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._feed = feed
        self._issuers = issuers
        self._access = RegistrationAccess(peppers, clock)
        self._peppers = peppers
        self._trail = trail
        self._audience = audience
        self._clock = clock

    async def register(
        self,
        caller: Caller,
        software_statement: str,
        *,
        client_name: str | None,
        scope: str,
        grant_types: Sequence[str] = (),
        authentication: ClientAuthentication = BY_SECRET,
        with_access_token: bool = False,
    ) -> Registered:
        """Verify the statement, and mint a client.

        Args:
            caller: The Master Client.
            software_statement: The approval of the partner.
            client_name: What people will recognize the client by. None: its Partner ID.
            scope: The scopes it wants; the platform's whole ceiling if empty.
            grant_types: The grant types it wants; the only one that there is if empty.
            authentication: How the client will authenticate.
            with_access_token: Whether to make a registration access token, too (RFC 7592 §3).

        Raises:
            InvalidClientMetadata: If the name or the grant types are not allowed.
            InvalidSoftwareStatement: If the statement is not valid here.
            Also what `register_client` raises.

        """
        now = self._clock()
        if client_name is not None:
            _check_name(client_name)
        if list(grant_types) not in ([], [CLIENT_CREDENTIALS]):
            raise InvalidClientMetadata(f"grant_types must be [{CLIENT_CREDENTIALS}]")
        statement = verify_statement(software_statement, self._issuers, self._audience, now)
        name = statement.partner_id if client_name is None else client_name
        registration = Registration(statement, name, scope, authentication)

        def register(connection: Connection) -> Registered:
            credentials = register_client(connection, self._peppers, self._trail, caller, registration, to_ms(now))
            token = self._access.grant(connection, credentials.client.client_id) if with_access_token else ""
            crash_point("authserver", "RegisterClient", "commit")
            return Registered(credentials, token)

        registered = await self._database.run(register)
        crash_point("authserver", "RegisterClient", "answer")
        return registered

    async def holder(self, client_id: str, registration_access_token: str) -> Caller:
        """Return the client that a registration access token manages, as a caller.

        Raises:
            InvalidToken: If it is not this client's, or the client is gone or blocked.
            DatabaseUnavailable: If the database can't be reached.

        """
        return await self._access.holder(self._database, client_id, registration_access_token)

    async def get(self, caller: Caller, client_id: str) -> Client:
        """Return a client of the caller's platform.

        Raises:
            ClientNotFound: If the platform has no such client.

        """
        return await self._database.read(lambda connection: find_owned_client(connection, caller, client_id))

    def is_secret(self, client: Client, presented: str) -> bool:
        """Return whether a text is a secret of the client's that works."""
        now_ms = to_ms(self._clock())
        return any(self._peppers.matches(presented, each.digest) and each.works_at(now_ms) for each in client.secrets)

    async def update(
        self,
        caller: Caller,
        client_id: str,
        *,
        client_name: str,
        scope: str,
        authentication: ClientAuthentication | None,
    ) -> Client:
        """Replace name and scope of a client of the caller's platform, and how it authenticates unless that is None.

        Raises:
            InvalidClientMetadata: If the name is not allowed.
            Also what `update_client` raises.

        """
        _check_name(client_name)
        return await self._feed.run(
            lambda connection: update_client(
                connection,
                self._trail,
                caller,
                client_id,
                client_name=client_name,
                scope=scope,
                authentication=authentication,
            )
        )

    async def delete(self, caller: Caller, client_id: str) -> None:
        """Delete a client of the caller's platform.

        Raises:
            ClientNotFound: If the platform has no such client.

        """
        await self._feed.run(lambda connection: delete_client(connection, self._trail, caller, client_id))


def _check_name(name: str) -> None:
    if fault := fault_of(name, NAME_LENGTH):
        raise InvalidClientMetadata(f"client_name {fault}")
