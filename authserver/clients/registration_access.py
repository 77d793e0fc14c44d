"""Registration access tokens: each manages one client by its configuration URL (RFC 7592), and opens nothing else.

256 random bits, digested as client secrets are.
"""

import base64
import secrets
from collections.abc import Callable

from sqlalchemy import Connection

from authserver.clients.secrets import Peppers
from authserver.clients.store.clients import Client, find_client
from authserver.clients.store.registration_access_tokens import (
    add_registration_access,
    find_registration_access,
    redigest_registration_access,
)
from authserver.errors import InvalidToken
from mesh.access.rules import Caller
from mesh.storage.database import Database
from mesh.timestamps import to_ms

PREFIX = "rat_"

_BYTES = 32


class RegistrationAccess:
    """Grants registration access tokens, and tells whose they are.

    Args:
        peppers: What they are digested with. If that of a token is an old one, it is digested anew as it is used.
        clock: Seconds since the epoch.

    """

    def __init__(self, peppers: Peppers, clock: Callable[[], float]) -> None:
        self._peppers = peppers
        self._clock = clock

    def grant(self, connection: Connection, client_id: str) -> str:
        """Make a client's token, and return it: it is shown now and never again."""
        token = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_BYTES)).rstrip(b"=").decode()
        add_registration_access(connection, client_id, self._peppers.digest(token), to_ms(self._clock()))
        return token

    async def holder(self, database: Database, client_id: str, token: str) -> Caller:
        """Return the client that a token manages, as a caller.

        Raises:
            InvalidToken: If it is not this client's, or the client is gone or blocked.
            DatabaseUnavailable: If the database can't be reached.

        """

        def read(connection: Connection) -> tuple[Client | None, bool]:
            client, digest = find_client(connection, client_id), find_registration_access(connection, client_id)
            proven = self._peppers.matches(token, digest or self._peppers.no_digest)
            return client if proven else None, digest is not None and not self._peppers.is_current(digest)

        client, outdated = await database.read(read)
        if client is None or client.blocked:
            raise InvalidToken("the registration access token is not this client's, or the client is gone")
        if outdated:
            new = self._peppers.digest(token)
            await database.run(lambda connection: redigest_registration_access(connection, client_id, new))
        return Caller(client_id, client.client_type, client.platform_id, client.partner_id, client.scopes)
