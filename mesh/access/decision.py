"""The judgement itself: may this caller, on this listener, call a method with this rule?"""

from mesh.access.rules import Caller, ClientType, MethodRule
from mesh.errors import Code, ServiceError


class MethodNotFound(ServiceError):
    """Nothing can be called under this name. Unknown, internal and closed are told apart for nobody."""

    code = Code.UNIMPLEMENTED


class ClientTypeNotAllowed(ServiceError):
    """The method is not for clients of the caller's type."""

    code = Code.PERMISSION_DENIED


class InsufficientScope(ServiceError):
    """The token lacks a scope that the method needs (RFC 6750 §3.1)."""

    code = Code.PERMISSION_DENIED


def require_reachable(rule: MethodRule | None, admitted: frozenset[ClientType]) -> MethodRule:
    """Return the rule of a method that can be called through a listener.

    Args:
        rule: The method's rule; None if it has none or does not exist.
        admitted: The client types that the listener admits.

    Raises:
        MethodNotFound: If there is no rule, or no client that the rule names gets in by this listener.

    """
    if rule is None or not (rule.public or rule.client_types & admitted):
        raise MethodNotFound("no such method here")
    return rule


def decide(rule: MethodRule | None, admitted: frozenset[ClientType], caller: Caller) -> None:
    """Return if the caller may call; raise what it is to be told if not.

    Args:
        rule: The method's rule; None if it has none.
        admitted: The client types that the listener admits.
        caller: Whom the token speaks for.

    Raises:
        MethodNotFound: As `require_reachable`.
        ClientTypeNotAllowed: If neither rule and listener together admit the caller's type.
        InsufficientScope: If the token lacks a scope.

    """
    rule = require_reachable(rule, admitted)
    if rule.public:
        return
    if caller.client_type not in rule.client_types or caller.client_type not in admitted:
        raise ClientTypeNotAllowed(
            f"this method is not for {caller.client_type} clients", client_type=caller.client_type
        )
    if missing := rule.scopes - caller.scopes:
        scope = " ".join(sorted(missing))
        raise InsufficientScope(f"the token lacks the scope {scope}", scope=scope)
