"""Calls the payment company through its gateway, as any outsider does: TLS and access tokens."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from mesh.calls import request_id
from mesh.calls.error_info import read_error_info
from mesh.calls.metadata import AUTHORIZATION
from sekisho.auth.v1 import client_registration_service_pb2_grpc, token_service_pb2, token_service_pb2_grpc
from sekisho.payments.v1 import partner_application_service_pb2_grpc, payment_service_pb2_grpc
from shops.credentials import Credentials
from shops.errors import GatewayError
from shops.tokens import NewToken, TokenSource

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

if TYPE_CHECKING:  # grpc's classes are generic to type checkers only
    Method: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[Request, Response]

_TIMEOUT_SECONDS = 10.0


class GatewayClient:
    """The methods of the payment company that the marketplace calls.

    Args:
        channel: To the gateway.
        clock: Seconds, from any start, that never go back; for the expiry of tokens.

    Attributes:
        applications: `sekisho.payments.v1.PartnerApplicationService`.
        clients: `sekisho.auth.v1.ClientRegistrationService`.
        payments: `sekisho.payments.v1.PaymentService`.

    """

    def __init__(self, channel: grpc.aio.Channel, clock: Callable[[], float]) -> None:
        """Make the stubs. Connects on the first call."""
        self.applications = partner_application_service_pb2_grpc.PartnerApplicationServiceStub(channel)
        self.clients = client_registration_service_pb2_grpc.ClientRegistrationServiceStub(channel)
        self.payments = payment_service_pb2_grpc.PaymentServiceStub(channel)
        self._token_service = token_service_pb2_grpc.TokenServiceStub(channel)
        self._tokens = TokenSource(self._issue, clock)

    async def call(self, credentials: Credentials, method: "Method[Request, Response]", request: Request) -> Response:
        """Call a method with a token of the given client, and the current request id.

        A token that is refused (it may have been revoked) is replaced, once.

        Raises:
            GatewayError: If the call, or the one for the token, fails or gets no answer in time.

        """
        token = await self._tokens.get(credentials)
        try:
            return await _send(method, request, token)
        except GatewayError as error:
            if error.code != grpc.StatusCode.UNAUTHENTICATED.name:
                raise
        self._tokens.drop(credentials, token)
        return await _send(method, request, await self._tokens.get(credentials))

    async def _issue(self, credentials: Credentials) -> NewToken:
        request = token_service_pb2.IssueTokenRequest(
            grant_type="client_credentials",
            client_id=credentials.client_id,
            client_secret=credentials.client_secret,
        )
        response = await _send(self._token_service.IssueToken, request)
        return NewToken(response.access_token, response.expires_in)


async def _send(method: "Method[Request, Response]", request: Request, token: str | None = None) -> Response:
    authorization = ((AUTHORIZATION, f"Bearer {token}"),) if token else ()
    try:
        return await method(request, timeout=_TIMEOUT_SECONDS, metadata=(*request_id.outgoing(), *authorization))
    except grpc.aio.AioRpcError as error:
        code = error.code().name
        reason, metadata = read_error_info(error)
        raise GatewayError(code, reason or code, error.details() or "", metadata) from error
