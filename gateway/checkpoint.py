"""The steps of one decision. Knows no transport: a method, a door and metadata in; a private token or a refusal out."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeAlias

import structlog

from gateway.errors import MalformedAuthorization, MissingToken
from gateway.exchange import TokenExchange
from gateway.exchange_cache import Exchanged
from gateway.limits import Call, Stranger
from gateway.policy import Route
from mesh.access.decision import decide, require_reachable
from mesh.access.rules import Caller, ClientType
from mesh.crash_points import crash_point
from mesh.metadata import AUTHORIZATION, bearer_token

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


class Checkpoint:
    """Judges calls.

    Args:
        routes: The methods behind the gateway, by their path.
        exchange: Where access tokens are exchanged.
        restrict: Raises `Restricted` for a method and a caller that restrictions refuse; None if there are none.

    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        exchange: TokenExchange,
        restrict: Callable[[str, Caller | None], None] | None = None,
    ) -> None:
        """Remember policy and exchange."""
        self._routes = routes
        self._exchange = exchange
        self._restrict = restrict

    async def admit(
        self, path: str, admitted: frozenset[ClientType], metadata: Metadata, call: Call
    ) -> Exchanged | None:
        """Return what the token of a call that may pass was exchanged for; None for public methods, which need none.

        Args:
            path: The method, `/package.Service/Method`.
            admitted: The client types that the door lets in.
            metadata: What the caller sent.
            call: What the limits know it by.

        Raises:
            MethodNotFound: If there is no such method for anyone who comes in by this door.
            RateLimitExceeded: If such calls come too fast.
            ConcurrencyLimitExceeded: If too many such calls are under way.
            MissingToken: If the method needs a token and there is none.
            MalformedAuthorization: If there is not exactly one bearer token.
            InvalidToken: If the token does not hold.
            AuthServerUnavailable: If the token can't be checked.
            ClientTypeNotAllowed: If the method is not for clients of this type.
            InsufficientScope: If the token lacks a scope.
            Restricted: If the operator restricts the method for now.

        """
        route = self._routes.get(path)
        rule = require_reachable(route.method.rule if route else None, admitted)
        call.arrive()
        if route is None or rule.public:
            if self._restrict:
                self._restrict(path, None)
            call.begin(Stranger.PUBLIC)
            return None
        waiting = partial(call.begin, Stranger.EXCHANGE)
        exchanged = await self._exchange.exchange(_access_token(metadata), route.backend, waiting)
        caller = exchanged.caller
        # Before the decision: the log is to say who was refused, too.
        structlog.contextvars.bind_contextvars(
            client_id=caller.client_id, client_type=caller.client_type, partner_id=caller.partner_id
        )
        decide(rule, admitted, caller)
        if self._restrict:
            self._restrict(path, caller)
        call.identify(caller, path, streaming=route.method.client_streaming or route.method.server_streaming)
        crash_point("gateway", path, "forward")
        return exchanged


def _access_token(metadata: Metadata) -> str:
    token = bearer_token(metadata)
    if token is not None:
        return token
    if all(key != AUTHORIZATION for key, _ in metadata):
        raise MissingToken("this method needs an access token: authorization: Bearer <token>")
    raise MalformedAuthorization("there must be exactly one authorization header: Bearer <token>")
