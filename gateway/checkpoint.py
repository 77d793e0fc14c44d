"""The steps of one decision. Knows no transport: a method, a door and metadata in; a private token or a refusal out."""

from collections.abc import Mapping
from functools import partial

from gateway.errors import MalformedAuthorization, MissingToken
from gateway.exchange import TokenExchange
from gateway.exchange_cache import Exchanged
from gateway.limits import Call, Stranger
from gateway.policy import Route
from mesh.access.decision import decide, require_reachable
from mesh.access.rules import ClientType
from mesh.call_record import Decision, Metadata, current_call
from mesh.crash_points import crash_point
from mesh.metadata import AUTHORIZATION, bearer_token


class Checkpoint:
    """Judges calls.

    Args:
        routes: The methods behind the gateway, by their path.
        exchange: Where access tokens are exchanged.

    """

    def __init__(self, routes: Mapping[str, Route], exchange: TokenExchange) -> None:
        """Remember policy and exchange."""
        self._routes = routes
        self._exchange = exchange

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

        """
        record = current_call()
        record.decision = Decision.REFUSED  # until it is admitted
        route = self._routes.get(path)
        rule = require_reachable(route.method.rule if route else None, admitted)
        call.arrive()
        if route is None or rule.public:
            call.begin(Stranger.PUBLIC)
            record.decision = Decision.ALLOWED
            return None
        waiting = partial(call.begin, Stranger.EXCHANGE)
        exchanged = await self._exchange.exchange(_access_token(metadata), route.backend, waiting)
        caller = exchanged.caller
        record.name_client(caller)  # before the decision: the log is to say who was refused, too
        decide(rule, admitted, caller)
        call.identify(caller, path, streaming=route.method.client_streaming or route.method.server_streaming)
        record.decision = Decision.ALLOWED
        crash_point("gateway", path, "forward")
        return exchanged


def _access_token(metadata: Metadata) -> str:
    token = bearer_token(metadata)
    if token is not None:
        return token
    if all(key != AUTHORIZATION for key, _ in metadata):
        raise MissingToken("this method needs an access token: authorization: Bearer <token>")
    raise MalformedAuthorization("there must be exactly one authorization header: Bearer <token>")
