"""The steps of one decision. Knows no transport: a method, a door and metadata in; a private token or a refusal out."""

from collections.abc import Mapping
from functools import partial

from gateway.errors import MalformedAuthorization
from gateway.exchange import ExchangeClient
from gateway.exchange_cache import Exchanged
from gateway.limits import Anonymous, LimitedCall
from gateway.restrictions_in_force import RestrictionsAtDoor
from mesh.access.decision import Verdict, judge, judge_caller, judge_method
from mesh.access.descriptors import Method
from mesh.access.narrowing import Narrowings
from mesh.access.rules import Caller, ClientType
from mesh.calls.call_record import Decision, Metadata, current_call
from mesh.calls.metadata import AUTHORIZATION, bearer_token
from mesh.crash_points import crash_point
from policy.routes import Route

_ALLOWED, _REFUSED = Decision.ALLOWED, Decision.REFUSED  # to look a member up in its class takes as long as a call
# Where what is unknown leads: a method without a rule, which no verdict lets through.
_NOWHERE = Route(Method("", None, client_streaming=False, server_streaming=False), "")


class Checkpoint:
    """Judges calls.

    Args:
        routes: The methods behind the gateway, by their path.
        exchange: Where access tokens are exchanged.
        restrictions: What else refuses calls at this door; None if nothing does.

    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        exchange: ExchangeClient,
        restrictions: RestrictionsAtDoor | None = None,
    ) -> None:
        self._routes = routes
        self._exchange = exchange
        self._restrictions = restrictions

    async def admit(
        self, path: str, admitted: frozenset[ClientType], metadata: Metadata, call: LimitedCall
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
            AudienceUnknown: If the auth server does not know the method's backend.
            AuthServerUnavailable: If the token can't be checked.
            ClientTypeNotAllowed: If the method is not for clients of this type.
            InsufficientScope: If the token lacks a scope.
            Restricted: If the operator restricts the method for now.

        """
        record = current_call()
        record.decision = _REFUSED  # until it is admitted
        route = self._routes.get(path, _NOWHERE)
        rule = route.method.rule
        judge_method(rule, admitted).enforce()
        call.arrive()
        token = None if rule and rule.public else _access_token(metadata)
        if token is None:  # none is needed, or there is none
            self._enforce(judge_caller(rule, admitted, None, self._narrowings(path)))
            call.begin(Anonymous.PUBLIC)
            record.decision = _ALLOWED
            return None
        exchanged = await self._exchange.exchange(token, route.backend, partial(call.begin, Anonymous.EXCHANGE))
        caller = exchanged.caller
        record.name_client(caller)  # before the decision: the log is to say who was refused, too
        self._enforce(judge_caller(rule, admitted, caller, self._narrowings(path)))
        call.identify(caller, path, streaming=route.method.client_streaming or route.method.server_streaming)
        record.decision = _ALLOWED
        crash_point("gateway", path, "forward")
        return exchanged

    async def recognize(self, path: str, metadata: Metadata, call: LimitedCall) -> Exchanged | None:
        """Return what the token of a call that may come without one was exchanged for; None if it has none.

        Args:
            path: The method, which the gateway answers itself.
            metadata: What the caller sent.
            call: What the limits know it by.

        Raises:
            ServiceError: As `admit`, if there is a token that does not hold, or a limit is reached.

        """
        call.arrive()
        token = _access_token(metadata)
        if token is None:
            call.begin(Anonymous.INFRASTRUCTURE)
            return None
        backend = next(iter(self._routes.values())).backend  # any: only its holder is asked for
        exchanged = await self._exchange.exchange(token, backend, partial(call.begin, Anonymous.EXCHANGE))
        current_call().name_client(exchanged.caller)
        call.identify(exchanged.caller, path, streaming=True)
        return exchanged

    def methods_for(self, caller: Caller | None, admitted: frozenset[ClientType]) -> frozenset[str]:
        """Return the methods that a caller may call now.

        Args:
            caller: Whom the token speaks for; None for those without one.
            admitted: The client types that the door lets in.

        """
        return frozenset(
            path
            for path, route in self._routes.items()
            if judge(route.method.rule, admitted, caller, self._narrowings(path)).passes
        )

    def _narrowings(self, path: str) -> Narrowings | None:
        return self._restrictions.on(path) if self._restrictions else None

    def _enforce(self, verdict: Verdict) -> None:
        """Raise what a verdict says, after what it says of restrictions was counted."""
        if verdict.restrictions and self._restrictions:
            self._restrictions.count(verdict)
        verdict.enforce()


def _access_token(metadata: Metadata) -> str | None:
    """Return the call's one bearer token; None if it has no `authorization` at all."""
    token = bearer_token(metadata)
    if token is None and any(key == AUTHORIZATION for key, _ in metadata):
        raise MalformedAuthorization("there must be exactly one authorization header: Bearer <token>")
    return token
