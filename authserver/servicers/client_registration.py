"""`sekisho.auth.v1.ClientRegistrationService`."""

from collections.abc import Callable

from sqlalchemy import Connection

from authserver.errors import InvalidClientMetadata
from authserver.register_client import (
    Credentials,
    Registration,
    find_owned_client,
    register_client,
    rotate_client_secret,
)
from authserver.scopes import format_scope
from authserver.servicers.tokens import CLIENT_CREDENTIALS
from authserver.software_statements import StatementIssuer, verify_statement
from authserver.store import NAME_LENGTH, Client
from mesh.access.descriptors import client_type_number
from mesh.crash_points import crash_point
from mesh.database import Database
from mesh.interceptors.private_token import current_caller
from mesh.interceptors.wrapping import Context
from mesh.timestamps import to_ms
from sekisho.auth.v1 import client_registration_service_pb2 as pb
from sekisho.auth.v1 import client_registration_service_pb2_grpc


class ClientRegistrationServiceServicer(client_registration_service_pb2_grpc.ClientRegistrationServiceServicer):
    """Registers the clients of a platform's partners, for its Master Client."""

    def __init__(
        self,
        database: Database,
        issuers: tuple[StatementIssuer, ...],
        pepper: bytes,
        *,
        audience: str,
        clock: Callable[[], float],
    ) -> None:
        """Remember whose statements count, and what secrets are digested with."""
        self._database = database
        self._issuers = issuers
        self._pepper = pepper
        self._audience = audience
        self._clock = clock

    async def RegisterClient(self, request: pb.RegisterClientRequest, context: Context) -> pb.RegisterClientResponse:
        """Verify the statement, and mint a client."""
        del context
        caller, now = current_caller(), self._clock()
        name = request.client_name
        if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
            raise InvalidClientMetadata(f"client_name must be 1 to {NAME_LENGTH} printable characters")
        if list(request.grant_types) not in ([], [CLIENT_CREDENTIALS]):
            raise InvalidClientMetadata(f"grant_types must be [{CLIENT_CREDENTIALS}]")
        statement = verify_statement(request.software_statement, self._issuers, self._audience, now)
        registration = Registration(statement, name, request.scope)

        def register(connection: Connection) -> Credentials:
            registered = register_client(connection, self._pepper, caller, registration, to_ms(now))
            crash_point("authserver", "RegisterClient", "commit")
            return registered

        credentials = await self._database.run(register)
        crash_point("authserver", "RegisterClient", "answer")
        return pb.RegisterClientResponse(
            client=_message(credentials.client), client_secret=credentials.client_secret, client_secret_expires_at=0
        )

    async def GetClient(self, request: pb.GetClientRequest, context: Context) -> pb.Client:
        """Return the client."""
        del context
        caller = current_caller()
        client = await self._database.read(lambda connection: find_owned_client(connection, caller, request.client_id))
        return _message(client)

    async def RotateClientSecret(
        self, request: pb.RotateClientSecretRequest, context: Context
    ) -> pb.RotateClientSecretResponse:
        """Replace the secret."""
        del context
        caller = current_caller()
        credentials = await self._database.run(
            lambda connection: rotate_client_secret(connection, self._pepper, caller, request.client_id)
        )
        return pb.RotateClientSecretResponse(
            client=_message(credentials.client), client_secret=credentials.client_secret, client_secret_expires_at=0
        )


def _message(client: Client) -> pb.Client:
    return pb.Client(
        client_id=client.client_id,
        client_id_issued_at=client.create_time // 1000,
        client_name=client.client_name,
        client_type=client_type_number(client.client_type),
        platform_id=client.platform_id,
        partner_id=client.partner_id,
        scope=format_scope(client.scopes),
        grant_types=[CLIENT_CREDENTIALS],
    )
