"""`sekisho.auth.v1.TokenService`."""

from collections.abc import Callable

from authserver.access_tokens import TokenSealer
from authserver.authentication import authenticate
from authserver.errors import UnsupportedGrantType
from authserver.issue_token import issue_token
from authserver.scopes import format_scope
from mesh.database import Database
from mesh.interceptors.wrapping import Context
from sekisho.auth.v1 import token_service_pb2, token_service_pb2_grpc

CLIENT_CREDENTIALS = "client_credentials"


class TokenServiceServicer(token_service_pb2_grpc.TokenServiceServicer):
    """Issues access tokens."""

    def __init__(
        self, database: Database, sealer: TokenSealer, pepper: bytes, *, ttl_seconds: int, clock: Callable[[], float]
    ) -> None:
        """Remember what tokens are made with."""
        self._database = database
        self._sealer = sealer
        self._pepper = pepper
        self._ttl_seconds = ttl_seconds
        self._clock = clock

    async def IssueToken(
        self, request: token_service_pb2.IssueTokenRequest, context: Context
    ) -> token_service_pb2.IssueTokenResponse:
        """Authenticate the client, and issue."""
        del context
        if request.grant_type != CLIENT_CREDENTIALS:
            raise UnsupportedGrantType(f"grant_type must be {CLIENT_CREDENTIALS}")
        client = await self._database.read(
            lambda connection: authenticate(connection, self._pepper, request.client_id, request.client_secret)
        )
        issued = issue_token(self._sealer, client, request.scope, now=self._clock(), ttl_seconds=self._ttl_seconds)
        return token_service_pb2.IssueTokenResponse(
            access_token=issued.access_token,
            token_type="Bearer",  # noqa: S106 - the token's type (RFC 6750), no secret
            expires_in=issued.expires_in,
            scope=format_scope(issued.scopes),
        )
