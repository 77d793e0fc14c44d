"""`sekisho.auth.v1.TokenService`."""

from collections.abc import Callable

from authserver.authentication import Authenticator
from authserver.config import AuthServerConfig
from authserver.errors import UnsupportedGrantType
from authserver.exchange_token import AccessTokens
from authserver.feed import Feed
from authserver.introspect_token import introspect_token
from authserver.issue_token import issue_token
from authserver.key_ring import KeyRing
from authserver.revoke_token import revoke_token
from authserver.scopes import format_scope
from authserver.trail import Trail
from mesh.access.descriptors import client_type_number
from mesh.interceptors.wrapping import Context
from mesh.peers import address_of
from sekisho.auth.v1 import token_service_pb2 as pb
from sekisho.auth.v1 import token_service_pb2_grpc

CLIENT_CREDENTIALS = "client_credentials"

_BEARER = "Bearer"  # the type of the tokens (RFC 6750)


class TokenServiceServicer(token_service_pb2_grpc.TokenServiceServicer):
    """Issues access tokens, revokes them, and says what they are."""

    def __init__(
        self,
        authenticator: Authenticator,
        key_ring: KeyRing,
        tokens: AccessTokens,
        feed: Feed,
        trail: Trail,
        *,
        config: AuthServerConfig,
        clock: Callable[[], float],
    ) -> None:
        """Remember what tokens are made with."""
        self._authenticator = authenticator
        self._key_ring = key_ring
        self._tokens = tokens
        self._feed = feed
        self._trail = trail
        self._config = config
        self._clock = clock

    async def IssueToken(self, request: pb.IssueTokenRequest, context: Context) -> pb.IssueTokenResponse:
        """Authenticate the client, and issue."""
        if request.grant_type != CLIENT_CREDENTIALS:
            raise UnsupportedGrantType(f"grant_type must be {CLIENT_CREDENTIALS}")
        client = await self._authenticator.authenticate(request.client_id, request.client_secret, address_of(context))
        await self._key_ring.catch_up()
        ttl_seconds = self._config.access_token_ttl_seconds
        issued = issue_token(self._key_ring.sealer, client, request.scope, now=self._clock(), ttl_seconds=ttl_seconds)
        return pb.IssueTokenResponse(
            access_token=issued.access_token,
            token_type=_BEARER,
            expires_in=issued.expires_in,
            scope=format_scope(issued.scopes),
        )

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        """Authenticate the client, and revoke the token if it is the client's own."""
        client = await self._authenticator.authenticate(request.client_id, request.client_secret, address_of(context))
        # What can't be opened is passed over in silence: it must not be what another replica has just sealed.
        await self._feed.follow()
        await self._key_ring.catch_up()
        await self._feed.run(
            lambda connection: revoke_token(
                connection, self._trail, self._key_ring.sealer, client.client_id, request.token, self._clock()
            )
        )
        return pb.RevokeTokenResponse()

    async def IntrospectToken(self, request: pb.IntrospectTokenRequest, context: Context) -> pb.IntrospectTokenResponse:
        """Authenticate the client, and say what the token is if it may know."""
        client = await self._authenticator.authenticate(request.client_id, request.client_secret, address_of(context))
        token = await introspect_token(self._tokens, client, request.token)
        if token is None:
            return pb.IntrospectTokenResponse(active=False)
        caller = token.caller
        return pb.IntrospectTokenResponse(
            active=True,
            scope=format_scope(caller.scopes),
            client_id=caller.client_id,
            token_type=_BEARER,
            exp=token.expire_time,
            sub=caller.client_id,
            iss=self._config.issuer,
            jti=token.jti,
            client_type=client_type_number(caller.client_type),
            platform_id=caller.platform_id,
            partner_id=caller.partner_id,
        )
