"""Swaps access tokens for private access tokens at the auth server, and keeps the answers while they are good."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import structlog

from gateway.errors import AuthServerUnavailable, InvalidToken
from mesh import request_id
from mesh.access.descriptors import client_type_of
from mesh.access.rules import Caller
from mesh.single_flight import SingleFlight
from sekisho.auth.v1 import exchange_service_pb2 as pb
from sekisho.auth.v1 import exchange_service_pb2_grpc

_TIMEOUT_SECONDS = 5.0
# What the auth server would refuse anyway; garbage costs no call.
_PREFIX = "sat_"
_MAX_LENGTH = 1024

_Key: TypeAlias = tuple[bytes, str]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What an access token was exchanged for.

    Attributes:
        private_token: The private access token.
        caller: Whom both tokens speak for.
        good_until: Until when this may be used again, by the clock of the exchange.
        access_until: When the access token expires, by the same clock; no call may outlive it.

    """

    private_token: str
    caller: Caller
    good_until: float
    access_until: float


class TokenExchange:
    """Exchanges tokens, and keeps the answers for a while; the least recently used go first.

    Concurrent calls with the same token share one exchange. Refusals are not kept.

    Args:
        channel: To the auth server.
        capacity: The most answers kept.
        max_age_seconds: How long an answer is kept, though the token in it may live longer.
        clock: Seconds that never go back.

    """

    def __init__(
        self, channel: grpc.aio.Channel, *, capacity: int, max_age_seconds: float, clock: Callable[[], float]
    ) -> None:
        """Start with an empty cache."""
        self._stub = exchange_service_pb2_grpc.ExchangeServiceStub(channel)
        self._capacity = capacity
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._cache: OrderedDict[_Key, Exchanged] = OrderedDict()
        self._flights = SingleFlight[_Key, Exchanged]()

    async def exchange(self, access_token: str, audience: str) -> Exchanged:
        """Return a private access token for a backend, from the cache or from the auth server.

        Raises:
            InvalidToken: If the auth server refuses the access token, or it can't be one.
            AuthServerUnavailable: If the auth server does not answer.

        """
        if not access_token.startswith(_PREFIX) or len(access_token) > _MAX_LENGTH:
            raise InvalidToken("this is no access token; take one from TokenService.IssueToken")
        # The cache holds digests, so that a look into memory shows no usable token.
        key = hashlib.sha256(access_token.encode()).digest(), audience
        cached = self._cache.get(key)
        if cached is not None and self._clock() < cached.good_until:
            self._cache.move_to_end(key)
            return cached
        return await self._flights.do(key, lambda: self._fetch(key, access_token, audience))

    async def _fetch(self, key: _Key, access_token: str, audience: str) -> Exchanged:
        request = pb.ExchangeTokenRequest(
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=access_token,
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",  # noqa: S106 - a type (RFC 8693 §3)
            audience=audience,
        )
        asked = self._clock()
        try:
            reply = await self._stub.ExchangeToken(request, timeout=_TIMEOUT_SECONDS, metadata=request_id.outgoing())
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise InvalidToken("the access token is malformed, expired or revoked; take a new one") from error
            _log.warning("exchange failed", code=error.code().name, details=error.details())
            raise AuthServerUnavailable("the auth server can't check the token now; try again") from error
        try:
            caller = _caller(reply)
        except ValueError as error:
            _log.exception("the auth server's answer is not understood")
            raise AuthServerUnavailable("the auth server can't check the token now; try again") from error
        exchanged = Exchanged(
            private_token=reply.access_token,
            caller=caller,
            good_until=asked + min(reply.expires_in, self._max_age_seconds),
            access_until=asked + reply.subject_token_expires_in,
        )
        self._keep(key, exchanged)
        return exchanged

    def _keep(self, key: _Key, exchanged: Exchanged) -> None:
        self._cache[key] = exchanged
        self._cache.move_to_end(key)
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)


def _caller(reply: pb.ExchangeTokenResponse) -> Caller:
    return Caller(
        client_id=reply.client_id,
        client_type=client_type_of(reply.client_type),
        platform_id=reply.platform_id,
        partner_id=reply.partner_id,
        scopes=frozenset(reply.scope.split()),
    )
