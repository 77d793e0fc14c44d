"""`sekisho.auth.v1.ClientRegistrationService`."""

from collections.abc import Callable

from authserver.audit.trail import Trail
from authserver.clients.authentication_method import CLIENT_CREDENTIALS, ClientAuthentication, parse_authentication
from authserver.clients.registrations import Registrations
from authserver.clients.rotate_secret import rotate_client_secret
from authserver.clients.scopes import format_scope
from authserver.clients.secrets import Peppers
from authserver.clients.store.clients import Client, list_clients
from authserver.clients.store.secrets import Secret
from authserver.errors import InvalidClientMetadata
from authserver.revocation.feed import Feed
from mesh.access.descriptors import client_type_number
from mesh.calls.wrapping import Context
from mesh.interceptors.private_token import current_caller
from mesh.serving.paging import parse_page
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from sekisho.auth.v1 import client_registration_service_pb2 as pb
from sekisho.auth.v1 import client_registration_service_pb2_grpc


class ClientRegistrationServiceServicer(client_registration_service_pb2_grpc.ClientRegistrationServiceServicer):
    """Registers the clients of a platform's partners, for its Master Client."""

    def __init__(
        self,
        registrations: Registrations,
        database: Database,
        feed: Feed,
        peppers: Peppers,
        trail: Trail,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._registrations = registrations
        self._database = database
        self._feed = feed
        self._peppers = peppers
        self._trail = trail
        self._clock = clock

    async def RegisterClient(self, request: pb.RegisterClientRequest, context: Context) -> pb.RegisterClientResponse:
        """Verify the statement, and mint a client."""
        del context
        registered = await self._registrations.register(
            current_caller(),
            request.software_statement,
            client_name=request.client_name,
            scope=request.scope,
            grant_types=request.grant_types,
            authentication=parse_authentication(request.token_endpoint_auth_method, request.jwks),
        )
        credentials = registered.credentials
        return pb.RegisterClientResponse(
            client=_message(credentials.client, self._clock()),
            client_secret=credentials.client_secret,
            client_secret_expires_at=0,
        )

    async def GetClient(self, request: pb.GetClientRequest, context: Context) -> pb.Client:
        """Return the client."""
        del context
        return _message(await self._registrations.get(current_caller(), request.client_id), self._clock())

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
        """Replace name and scope, and how the client authenticates if the request says so."""
        del context
        client = await self._registrations.update(
            current_caller(),
            request.client_id,
            client_name=request.client_name,
            scope=request.scope,
            authentication=_new_authentication(request),
        )
        return _message(client, self._clock())

    async def DeleteClient(self, request: pb.DeleteClientRequest, context: Context) -> pb.DeleteClientResponse:
        """Delete the client."""
        del context
        await self._registrations.delete(current_caller(), request.client_id)
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


def _new_authentication(request: pb.UpdateClientRequest) -> ClientAuthentication | None:
    if not request.token_endpoint_auth_method:
        if request.jwks:
            raise InvalidClientMetadata("jwks must come with a token_endpoint_auth_method")
        return None
    return parse_authentication(request.token_endpoint_auth_method, request.jwks)


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
        token_endpoint_auth_method=client.authentication.method.value,
        jwks=client.authentication.jwks,
        secrets=[_secret_message(secret) for secret in client.secrets if secret.works_at(to_ms(now))],
    )


def _secret_message(secret: Secret) -> pb.ClientSecret:
    return pb.ClientSecret(
        secret_id=secret.secret_id,
        created_at=secret.create_time // 1000,
        expires_at=(secret.expire_time or 0) // 1000,
        last_used_at=(secret.last_use_time or 0) // 1000,
    )
