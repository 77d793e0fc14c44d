"""`sekisho.auth.v1.TokenService`."""

from authserver.clients.authentication import Authenticator
from authserver.clients.authentication_method import CLIENT_CREDENTIALS
from authserver.clients.presented import presented
from authserver.clients.scopes import format_scope
from authserver.clients.store.clients import Client
from authserver.errors import UnsupportedGrantType
from authserver.tokens.client_tokens import ClientTokens
from authserver.tokens.issue import TOKEN_TYPE
from mesh.access.descriptors import client_type_number
from mesh.calls.peers import address_of
from mesh.calls.wrapping import Context
from sekisho.auth.v1 import token_service_pb2 as pb
from sekisho.auth.v1 import token_service_pb2_grpc


class TokenServiceServicer(token_service_pb2_grpc.TokenServiceServicer):
    """Issues access tokens, revokes them, and says what they are."""

    def __init__(self, authenticator: Authenticator, tokens: ClientTokens, *, issuer: str) -> None:
        self._authenticator = authenticator
        self._tokens = tokens
        self._issuer = issuer

    async def _authenticate(
        self, request: pb.IssueTokenRequest | pb.RevokeTokenRequest | pb.IntrospectTokenRequest, context: Context
    ) -> Client:
        shown = presented(
            request.client_id, request.client_secret, request.client_assertion_type, request.client_assertion
        )
        return await self._authenticator.authenticate(shown, address_of(context))

    async def IssueToken(self, request: pb.IssueTokenRequest, context: Context) -> pb.IssueTokenResponse:
        """Authenticate the client, and issue."""
        if request.grant_type != CLIENT_CREDENTIALS:
            raise UnsupportedGrantType(f"grant_type must be {CLIENT_CREDENTIALS}")
        client = await self._authenticate(request, context)
        issued = await self._tokens.issue(client, request.scope)
        return pb.IssueTokenResponse(
            access_token=issued.access_token,
            token_type=TOKEN_TYPE,
            expires_in=issued.expires_in,
            scope=format_scope(issued.scopes),
        )

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        """Authenticate the client, and revoke the token if it is the client's own."""
        client = await self._authenticate(request, context)
        await self._tokens.revoke(client, request.token)
        return pb.RevokeTokenResponse()

    async def IntrospectToken(self, request: pb.IntrospectTokenRequest, context: Context) -> pb.IntrospectTokenResponse:
        """Authenticate the client, and say what the token is if it may know."""
        client = await self._authenticate(request, context)
        token = await self._tokens.introspect(client, request.token)
        if token is None:
            return pb.IntrospectTokenResponse(active=False)
        caller = token.caller
        return pb.IntrospectTokenResponse(
            active=True,
            scope=format_scope(caller.scopes),
            client_id=caller.client_id,
            token_type=TOKEN_TYPE,
            exp=token.expire_time,
            sub=caller.client_id,
            iss=self._issuer,
            jti=token.jti,
            client_type=client_type_number(caller.client_type),
            platform_id=caller.platform_id,
            partner_id=caller.partner_id,
        )
