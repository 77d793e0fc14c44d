"""Lets only callers through whose private access token the method's rule admits."""

from collections.abc import Mapping
from contextvars import ContextVar

import grpc
import structlog

from mesh.access.decision import decide
from mesh.access.descriptors import Method
from mesh.access.rules import ALL_CLIENT_TYPES, Caller
from mesh.interceptors.wrapping import Context, Continuation, Handler, Proceed, wrap
from mesh.metadata import bearer_token
from mesh.private_tokens import InvalidPrivateToken, PrivateTokenVerifier

_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Return whom the current call's private access token speaks for."""
    return _caller.get()


class PrivateTokenInterceptor(grpc.aio.ServerInterceptor):
    """Verifies the token and judges by the contract's rule once more, so that no gateway's fault opens a method.

    Methods that are public, or internal and so guarded by the peers' certificates, need no token.
    """

    def __init__(self, methods: Mapping[str, Method], verifier: PrivateTokenVerifier) -> None:
        """Remember the contracts and the verifier."""
        self._methods = methods
        self._verifier = verifier

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler, if its method needs a token."""
        handler = await continuation(handler_call_details)
        method = self._methods.get(handler_call_details.method)
        if method is None or method.rule is None or method.rule.public:
            return handler
        rule = method.rule

        async def authenticate(context: Context, proceed: Proceed) -> object:
            token = bearer_token(context.invocation_metadata() or ())
            if token is None:
                raise InvalidPrivateToken("exactly one authorization header with a private access token is needed")
            caller = await self._verifier.verify(token)
            structlog.contextvars.bind_contextvars(
                client_id=caller.client_id, client_type=caller.client_type, partner_id=caller.partner_id
            )
            decide(rule, ALL_CLIENT_TYPES, caller)
            _caller.set(caller)
            return await proceed()

        return wrap(handler, authenticate)
