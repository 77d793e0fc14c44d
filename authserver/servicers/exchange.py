"""`sekisho.auth.v1.ExchangeService`."""

from authserver.clients.scopes import format_scope
from authserver.errors import UnsupportedGrantType
from authserver.tokens.exchange import ACCESS_TOKEN_TYPE, JWT_TYPE, TOKEN_EXCHANGE, TokenExchange
from mesh.access.descriptors import client_type_number
from mesh.calls.wrapping import Context
from sekisho.auth.v1 import exchange_service_pb2 as pb
from sekisho.auth.v1 import exchange_service_pb2_grpc


class ExchangeServiceServicer(exchange_service_pb2_grpc.ExchangeServiceServicer):
    """Exchanges access tokens for private ones."""

    def __init__(self, exchange: TokenExchange) -> None:
        self._exchange = exchange

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: Context) -> pb.ExchangeTokenResponse:
        """Check the form of the request, and exchange."""
        del context
        if (request.grant_type, request.subject_token_type) != (TOKEN_EXCHANGE, ACCESS_TOKEN_TYPE):
            raise UnsupportedGrantType("only access tokens are exchanged, by the token-exchange grant")
        exchanged = await self._exchange.exchange(request.subject_token, request.audience, request.revocation_position)
        return pb.ExchangeTokenResponse(
            access_token=exchanged.private_token,
            issued_token_type=JWT_TYPE,
            token_type="Bearer",  # noqa: S106 - the token's type (RFC 6750), no secret
            expires_in=exchanged.expires_in,
            scope=format_scope(exchanged.caller.scopes),
            subject_token_expires_in=exchanged.subject_token_expires_in,
            client_id=exchanged.caller.client_id,
            client_type=client_type_number(exchanged.caller.client_type),
            platform_id=exchanged.caller.platform_id,
            partner_id=exchanged.caller.partner_id,
            revocation_position=exchanged.position,
        )
