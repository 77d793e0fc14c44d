"""`sekisho.auth.v1.ClientRegistrationService`."""

from collections.abc import Callable

from sqlalchemy import Connection

from authserver.client_secrets import Peppers
from authserver.delete_client import delete_client
from authserver.errors import InvalidClientMetadata
from authserver.feed import Feed
from authserver.owned_clients import find_owned_client
from authserver.register_client import Credentials, Registration, register_client
from authserver.rotate_client_secret import rotate_client_secret
from authserver.scopes import format_scope
from authserver.servicers.tokens import CLIENT_CREDENTIALS
from authserver.software_statements import StatementIssuer, verify_statement
from authserver.store.clients import Client, list_clients
from authserver.store.secrets import Secret
from authserver.store.tables import NAME_LENGTH
from authserver.trail import Trail
from authserver.update_client import update_client
from mesh.access.descriptors import client_type_number
from mesh.crash_points import crash_point
from mesh.database import Database
from mesh.interceptors.private_token import current_caller
from mesh.interceptors.wrapping import Context
from mesh.paging import parse_page
from mesh.timestamps import to_ms
from sekisho.auth.v1 import client_registration_service_pb2 as pb
from sekisho.auth.v1 import client_registration_service_pb2_grpc


class ClientRegistrationServiceServicer(client_registration_service_pb2_grpc.ClientRegistrationServiceServicer):
    """Registers the clients of a platform's partners, for its Master Client."""

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
        """Remember whose statements count, and what secrets are digested with."""
        self._database = database
        self._feed = feed
        self._issuers = issuers
        self._peppers = peppers
        self._trail = trail
        self._audience = audience
        self._clock = clock

    async def RegisterClient(self, request: pb.RegisterClientRequest, context: Context) -> pb.RegisterClientResponse:
        """Verify the statement, and mint a client."""
        del context
        caller, now = current_caller(), self._clock()
        _check_name(request.client_name)
        if list(request.grant_types) not in ([], [CLIENT_CREDENTIALS]):
            raise InvalidClientMetadata(f"grant_types must be [{CLIENT_CREDENTIALS}]")
        statement = verify_statement(request.software_statement, self._issuers, self._audience, now)
        registration = Registration(statement, request.client_name, request.scope)

        def register(connection: Connection) -> Credentials:
            registered = register_client(connection, self._peppers, self._trail, caller, registration, to_ms(now))
            crash_point("authserver", "RegisterClient", "commit")
            return registered

        credentials = await self._database.run(register)
        crash_point("authserver", "RegisterClient", "answer")
        return pb.RegisterClientResponse(
            client=_message(credentials.client, now),
            client_secret=credentials.client_secret,
            client_secret_expires_at=0,
        )

    async def GetClient(self, request: pb.GetClientRequest, context: Context) -> pb.Client:
        """Return the client."""
        del context
        caller = current_caller()
        client = await self._database.read(lambda connection: find_owned_client(connection, caller, request.client_id))
        return _message(client, self._clock())

    async def ListClients(self, request: pb.ListClientsRequest, context: Context) -> pb.ListClientsResponse:
        """Return a page of the platform's clients."""
        del context
        platform_id, now = current_caller().platform_id, self._clock()
        page = parse_page(request.page_size, request.page_token)
        found = await self._database.read(lambda connection: list_clients(connection, platform_id, page))
        clients, next_page_token = page.cut(found, "client_id")
        return pb.ListClientsResponse(
            clients=[_message(client, now) for client in clients], next_page_token=next_page_token
        )

    async def UpdateClient(self, request: pb.UpdateClientRequest, context: Context) -> pb.Client:
        """Replace name and scope."""
        del context
        caller = current_caller()
        _check_name(request.client_name)
        client = await self._feed.run(
            lambda connection: update_client(
                connection,
                self._trail,
                caller,
                request.client_id,
                client_name=request.client_name,
                scope=request.scope,
            )
        )
        return _message(client, self._clock())

    async def DeleteClient(self, request: pb.DeleteClientRequest, context: Context) -> pb.DeleteClientResponse:
        """Delete the client."""
        del context
        caller = current_caller()
        await self._feed.run(lambda connection: delete_client(connection, self._trail, caller, request.client_id))
        return pb.DeleteClientResponse()

    async def RotateClientSecret(
        self, request: pb.RotateClientSecretRequest, context: Context
    ) -> pb.RotateClientSecretResponse:
        """Make a new secret, beside the old one or in its place."""
        del context
        caller, now = current_caller(), self._clock()
        old_expire_time = request.old_secret_expires_at * 1000 or None
        credentials = await self._feed.run(
            lambda connection: rotate_client_secret(
                connection,
                self._peppers,
                self._trail,
                caller,
                request.client_id,
                old_expire_time=old_expire_time,
                now_ms=to_ms(now),
            )
        )
        return pb.RotateClientSecretResponse(
            client=_message(credentials.client, now),
            client_secret=credentials.client_secret,
            client_secret_expires_at=0,
        )


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidClientMetadata(f"client_name must be 1 to {NAME_LENGTH} printable characters")


def _message(client: Client, now: float) -> pb.Client:
    return pb.Client(
        client_id=client.client_id,
        client_id_issued_at=client.create_time // 1000,
        client_name=client.client_name,
        client_type=client_type_number(client.client_type),
        platform_id=client.platform_id,
        partner_id=client.partner_id,
        scope=format_scope(client.scopes),
        grant_types=[CLIENT_CREDENTIALS],
        secrets=[_secret_message(secret) for secret in client.secrets if secret.works_at(to_ms(now))],
    )


def _secret_message(secret: Secret) -> pb.ClientSecret:
    return pb.ClientSecret(
        secret_id=secret.secret_id,
        created_at=secret.create_time // 1000,
        expires_at=(secret.expire_time or 0) // 1000,
        last_used_at=(secret.last_use_time or 0) // 1000,
    )
