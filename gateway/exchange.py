"""Swaps access tokens for private access tokens at the auth server."""

import hashlib
from collections.abc import Callable

import grpc
import structlog

from gateway.errors import AudienceUnknown, AuthServerUnavailable, InvalidToken
from gateway.exchange_cache import ExchangeCache, Exchanged, Key
from mesh.access.descriptors import client_type_of
from mesh.access.rules import Caller
from mesh.calls import request_id
from mesh.calls.call_record import current_call
from mesh.calls.error_info import read_error_info
from mesh.errors import ServiceError
from mesh.single_flight import SingleFlight
from sekisho.auth.v1 import exchange_service_pb2 as pb
from sekisho.auth.v1 import exchange_service_pb2_grpc

# Long enough for the auth server to come back: channels try to connect every two seconds.
TIMEOUT_SECONDS = 5.0
# How often the auth server is asked, if what is revoked meanwhile makes its answers old.
_ATTEMPTS = 3
# A private access token must still be valid when a backend reads it, by the backend's own clock.
_MARGIN_SECONDS = 5.0
# What the auth server would refuse anyway; garbage costs no call.
_PREFIX = "sat_"
_MAX_LENGTH = 1024
# The reason of the auth server's refusal to make a token for an audience (RFC 8693 §2.2.2).
_NO_SUCH_AUDIENCE = "INVALID_TARGET"

_log = structlog.get_logger()


class ExchangeClient:
    """Exchanges tokens, and uses the answers again while the cache has them.

    Concurrent calls with the same token share one exchange. Refusals are not kept.

    Args:
        channel: To the auth server.
        cache: Where the answers are.
        clock: Seconds that never go back; the cache's.
        timeout_seconds: How long a call waits for the auth server, also for it to come back.

    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        cache: ExchangeCache,
        clock: Callable[[], float],
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._stub = exchange_service_pb2_grpc.ExchangeServiceStub(channel)
        self._cache = cache
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._flights = SingleFlight[Key, Exchanged]()

    async def exchange(
        self, access_token: str, audience: str, before_waiting: Callable[[], None] | None = None
    ) -> Exchanged:
        """Return a private access token for a backend, from the cache or from the auth server.

        Args:
            access_token: What the caller presents.
            audience: The backend.
            before_waiting: Is called where the cache does not have it; may refuse to wait, by raising.

        Raises:
            InvalidToken: If the auth server refuses the access token, or it can't be one.
            AudienceUnknown: If the auth server knows no such backend.
            AuthServerUnavailable: If the auth server does not answer, or does not know what is revoked.

        """
        if not access_token.startswith(_PREFIX) or len(access_token) > _MAX_LENGTH:
            raise InvalidToken("this is no access token; take one from TokenService.IssueToken")
        key = hashlib.sha256(access_token.encode()).digest(), audience
        if exchanged := self._cache.find(key):
            return exchanged
        if before_waiting:
            before_waiting()
        start = self._clock()
        try:
            return await self._flights.do(key, lambda: self._fetch(key, access_token))
        finally:
            current_call().exchange_seconds = self._clock() - start

    async def _fetch(self, key: Key, access_token: str) -> Exchanged:
        for _ in range(_ATTEMPTS):
            exchanged = await self._ask(key, access_token)
            if self._cache.add(exchanged):
                return exchanged
        _log.warning("the auth server's answers are older than what is revoked")
        raise AuthServerUnavailable("the auth server can't check the token now; try again")

    async def _ask(self, key: Key, access_token: str) -> Exchanged:
        request = pb.ExchangeTokenRequest(
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=access_token,
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",  # noqa: S106 - a type (RFC 8693 §3)
            audience=key[1],
            revocation_position=self._cache.position or 0,
        )
        asked = self._clock()
        try:
            reply = await self._stub.ExchangeToken(
                request, timeout=self._timeout_seconds, metadata=request_id.outgoing(), wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            raise _refusal(error, key[1]) from error
        try:
            caller = _caller(reply)
        except ValueError as error:
            _log.exception("the auth server's answer is not understood")
            raise AuthServerUnavailable("the auth server can't check the token now; try again") from error
        return Exchanged(
            key=key,
            private_token=reply.access_token,
            caller=caller,
            position=reply.revocation_position,
            asked=asked,
            good_until=asked + reply.expires_in - _MARGIN_SECONDS,
            access_until=asked + reply.subject_token_expires_in,
        )


def _refusal(error: grpc.aio.AioRpcError, audience: str) -> ServiceError:
    if error.code() == grpc.StatusCode.UNAUTHENTICATED:
        return InvalidToken("the access token is malformed, expired or revoked; take a new one")
    if read_error_info(error)[0] == _NO_SUCH_AUDIENCE:
        _log.error(
            "the auth server does not know this backend: add its name to the auth server's audiences", backend=audience
        )
        return AudienceUnknown("the auth server does not know the service; tell its operator the request id")
    _log.warning("exchange failed", code=error.code().name, details=error.details())
    return AuthServerUnavailable("the auth server can't check the token now; try again")


def _caller(reply: pb.ExchangeTokenResponse) -> Caller:
    return Caller(
        client_id=reply.client_id,
        client_type=client_type_of(reply.client_type),
        platform_id=reply.platform_id,
        partner_id=reply.partner_id,
        scopes=frozenset(reply.scope.split()),
    )
