"""The decision: may this caller, by this door, call a method with this rule? Plain values in, a verdict out.

It has two steps. `judge_method` needs no caller, so it comes before a token is exchanged. `judge_caller` comes after.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from mesh.access.narrowing import Narrowings
from mesh.access.rules import Caller, ClientType, MethodRule
from mesh.errors import Code, ServiceError


class MethodNotFound(ServiceError):
    """Nothing can be called under this name. Unknown, internal and closed are told apart for nobody."""

    code = Code.UNIMPLEMENTED


class MissingToken(ServiceError):
    """The method needs an access token, and the call has no `authorization`."""

    code = Code.UNAUTHENTICATED


class ClientTypeNotAllowed(ServiceError):
    """The method is not for clients of the caller's type."""

    code = Code.PERMISSION_DENIED


class InsufficientScope(ServiceError):
    """The token lacks a scope that the method needs (RFC 6750 §3.1)."""

    code = Code.PERMISSION_DENIED


class Restricted(ServiceError):
    """The operator of the gateway restricts the method for now: for this caller, or for all."""

    code = Code.PERMISSION_DENIED


REFUSALS = (MethodNotFound, MissingToken, ClientTypeNotAllowed, InsufficientScope, Restricted)


class Step(enum.StrEnum):
    """The steps of a decision, in their order."""

    # Is there such a method, for anybody who comes in by this door?
    METHOD = "method"
    # Is there a token, if the method needs one?
    TOKEN = "token"  # noqa: S105 - no secret
    # Do rule and door admit the caller's type, and has the token the scopes?
    RULE = "rule"
    # Is the method restricted for now?
    RESTRICTIONS = "restrictions"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a call.

    Attributes:
        step: The step that refuses the call, or the last one that it passes.
        refusal: What the caller is told; None if the call passes.
        restrictions: The names of the restrictions that refuse the call; if it passes, of those on trial that would.

    """

    step: Step
    refusal: ServiceError | None = None
    restrictions: Sequence[str] = ()

    @property
    def passes(self) -> bool:
        """Whether the call is let through this step."""
        return self.refusal is None

    def enforce(self) -> None:
        """Raise the refusal, if there is one."""
        if self.refusal is not None:
            raise self.refusal


# What most calls get, made once.
_REACHABLE = Verdict(Step.METHOD)
_UNRESTRICTED = Verdict(Step.RESTRICTIONS)


def judge_method(rule: MethodRule | None, admitted: frozenset[ClientType]) -> Verdict:
    """Judge whether a method can be reached by a door, whoever calls: the step before a token is exchanged.

    Args:
        rule: The method's rule; None if it has none or does not exist.
        admitted: The client types that the door admits.

    """
    if rule is None or not (rule.public or rule.client_types & admitted):
        return Verdict(Step.METHOD, MethodNotFound("no such method here"))
    return _REACHABLE


def judge_caller(
    rule: MethodRule | None,
    admitted: frozenset[ClientType],
    caller: Caller | None,
    narrowings: Narrowings | None = None,
) -> Verdict:
    """Judge whether a caller may call a method that can be reached: the step after the token was exchanged.

    Args:
        rule: The method's rule; None if it has none.
        admitted: The client types that the door admits.
        caller: Whom the token speaks for; None without a token. Public methods look at no token.
        narrowings: What restrictions take away from the method at the door; None if they take nothing.

    """
    if rule is None:
        return judge_method(rule, admitted)
    if rule.public:
        caller = None
    elif caller is None:
        needed = "this method needs an access token: authorization: Bearer <token>"
        return Verdict(Step.TOKEN, MissingToken(needed))
    elif caller.client_type not in rule.client_types or caller.client_type not in admitted:
        who = caller.client_type
        return Verdict(Step.RULE, ClientTypeNotAllowed(f"this method is not for {who} clients", client_type=who))
    elif missing := rule.scopes - caller.scopes:
        scope = " ".join(sorted(missing))
        return Verdict(Step.RULE, InsufficientScope(f"the token lacks the scope {scope}", scope=scope))
    return _judge_restrictions(narrowings, caller) if narrowings else _UNRESTRICTED


def judge(
    rule: MethodRule | None,
    admitted: frozenset[ClientType],
    caller: Caller | None,
    narrowings: Narrowings | None = None,
) -> Verdict:
    """Judge a call whose caller is known: both steps at once. The arguments are those of `judge_caller`."""
    reachable = judge_method(rule, admitted)
    return judge_caller(rule, admitted, caller, narrowings) if reachable.passes else reachable


def _judge_restrictions(narrowings: Narrowings, caller: Caller | None) -> Verdict:
    if names := narrowings.enforced.refusing(caller):
        refusal = Restricted("the method is restricted for now", restriction=names[0])
        return Verdict(Step.RESTRICTIONS, refusal, names)
    would = narrowings.reported.refusing(caller)
    return Verdict(Step.RESTRICTIONS, restrictions=would) if would else _UNRESTRICTED
