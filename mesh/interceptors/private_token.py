"""Lets only callers through whose private access token the method's rule admits."""

from collections.abc import Mapping
from contextvars import ContextVar

from mesh.access.decision import judge
from mesh.access.descriptors import Method
from mesh.access.rules import ALL_CLIENT_TYPES, Caller
from mesh.calls.call_record import Decision, current_call
from mesh.calls.metadata import bearer_token
from mesh.calls.wrapping import Context, Handler, Run, wrap
from mesh.security.private_tokens import InvalidPrivateToken, PrivateTokenVerifier

_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Return whom the current call's private access token speaks for."""
    return _caller.get()


class PrivateTokenInterceptor:
    """Verifies the token and judges by the contract's rule once more, so that no gateway's fault opens a method.

    Methods that are public, or internal and so guarded by the peers' certificates, need no token.
    """

    def __init__(self, methods: Mapping[str, Method], verifier: PrivateTokenVerifier) -> None:
        self._methods = methods
        self._verifier = verifier

    def intercept(self, path: str, handler: Handler | None) -> Handler | None:
        """Wrap the handler, if its method needs a token."""
        method = self._methods.get(path)
        if method is None or method.rule is None or method.rule.public:
            return handler
        rule = method.rule

        async def authenticate(run: Run, request: object, context: Context) -> object:
            call = current_call()
            call.decision = Decision.REFUSED
            token = bearer_token(call.metadata)
            if token is None:
                raise InvalidPrivateToken("exactly one authorization header with a private access token is needed")
            caller = await self._verifier.verify(token)
            call.name_client(caller)
            judge(rule, ALL_CLIENT_TYPES, caller).enforce()
            call.decision = Decision.ALLOWED
            _caller.set(caller)
            return await run(request, context)

        return wrap(handler, authenticate)
