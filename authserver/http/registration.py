"""`/oauth2/register` (RFC 7591) and `/oauth2/register/{client_id}` (RFC 7592)."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver.clients.authentication_method import BY_SECRET
from authserver.clients.registration_access import PREFIX
from authserver.clients.registrations import Registrations
from authserver.clients.store.clients import Client
from authserver.errors import InvalidClientMetadata, InvalidScope
from authserver.http.bodies import read_json
from authserver.http.client_metadata import describe, read_metadata, refuse_changes, refuse_chosen_credentials
from authserver.http.credentials import bearer
from authserver.http.refusals import NO_STORE
from authserver.tokens.exchange import TokenChecker
from mesh.access.decision import judge
from mesh.access.descriptors import Method
from mesh.access.rules import ALL_CLIENT_TYPES, Caller

_SERVICE = "/sekisho.auth.v1.ClientRegistrationService/"


@dataclass(frozen=True, slots=True)
class _Manager:
    """Who manages a client: its platform's Master Client, or whoever has its registration access token."""

    caller: Caller
    registration_access_token: str = ""


class RegistrationEndpoints:
    """Registers, shows, changes and deletes clients.

    Args:
        access_tokens: Tells whom a bearer token speaks for.
        registrations: Does it.
        methods: The contracts' methods, whose rules hold here too.
        public_url: Where clients reach this server.
        seconds: How long a client may take to send its request.

    """

    def __init__(
        self,
        access_tokens: TokenChecker,
        registrations: Registrations,
        *,
        methods: Mapping[str, Method],
        public_url: str,
        seconds: float,
    ) -> None:
        self._access_tokens = access_tokens
        self._registrations = registrations
        self._methods = methods
        self._url = f"{public_url}/oauth2/register"
        self._seconds = seconds

    async def register(self, request: Request) -> Response:
        """Register a client, for a Master Client."""
        caller = await self._judged(bearer(request), "RegisterClient")
        fields = await read_json(request, self._seconds)
        refuse_chosen_credentials(fields)
        metadata = read_metadata(fields)
        try:
            registered = await self._registrations.register(
                caller,
                metadata.software_statement,
                client_name=metadata.client_name,
                scope=metadata.scope,
                authentication=metadata.authentication or BY_SECRET,
                with_access_token=True,
            )
        except InvalidScope as error:
            raise InvalidClientMetadata(f"scope: {error.message}") from error
        client = registered.credentials.client
        secret = registered.credentials.client_secret
        content = {
            **describe(client),
            **({"client_secret": secret} if secret else {}),
            "software_statement": metadata.software_statement,
            **self._access(client, registered.registration_access_token),
        }
        return JSONResponse(content, HTTPStatus.CREATED, NO_STORE)

    async def read(self, request: Request) -> Response:
        """Show a client."""
        manager = await self._manager(request, "GetClient")
        client = await self._registrations.get(manager.caller, _client_id(request))
        return self._shown(client, manager)

    async def update(self, request: Request) -> Response:
        """Replace a client's name and scope, and how it authenticates if that is said."""
        manager = await self._manager(request, "UpdateClient")
        fields = await read_json(request, self._seconds)
        client = await self._registrations.get(manager.caller, _client_id(request))
        refuse_changes(fields, client)
        metadata = read_metadata(fields)
        if "client_secret" in fields and not self._registrations.is_secret(client, str(fields["client_secret"])):
            raise InvalidClientMetadata("client_secret is not the client's; it can't be chosen")
        try:
            client = await self._registrations.update(
                manager.caller,
                client.client_id,
                client_name=client.partner_id if metadata.client_name is None else metadata.client_name,
                scope=metadata.scope,
                authentication=metadata.authentication,
            )
        except InvalidScope as error:
            raise InvalidClientMetadata(f"scope: {error.message}") from error
        return self._shown(client, manager)

    async def delete(self, request: Request) -> Response:
        """Delete a client."""
        manager = await self._manager(request, "DeleteClient")
        await self._registrations.delete(manager.caller, _client_id(request))
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=NO_STORE)

    async def _manager(self, request: Request, method: str) -> _Manager:
        token = bearer(request)
        if not token.startswith(PREFIX):
            return _Manager(await self._judged(token, method))
        return _Manager(await self._registrations.holder(_client_id(request), token), token)

    async def _judged(self, token: str, method: str) -> Caller:
        caller = (await self._access_tokens.check(token)).token.caller
        judge(self._methods[_SERVICE + method].rule, ALL_CLIENT_TYPES, caller).enforce()
        return caller

    def _shown(self, client: Client, manager: _Manager) -> Response:
        content = {**describe(client), **self._access(client, manager.registration_access_token)}
        return JSONResponse(content, headers=NO_STORE)

    def _access(self, client: Client, registration_access_token: str) -> dict[str, str]:
        """Return where the client is managed, and by what; only its digest is kept, so it is shown to who has it."""
        uri = {"registration_client_uri": f"{self._url}/{client.client_id}"}
        return {**uri, "registration_access_token": registration_access_token} if registration_access_token else uri


def _client_id(request: Request) -> str:
    return str(request.path_params["client_id"])
