"""What looks wrong with a policy that a gateway would start with."""

import enum
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mesh.access.descriptors import Method
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from policy.changes import Terms, terms
from policy.explanation import place_of_entry, places_of_rule
from policy.policy import Policy
from policy.similar_names import similar
from policy.sources.places import Place, place_of_method
from policy.sources.restrictions import Mode

# Two scopes that are as like as this are rather one that is mistyped than two.
_MISTYPED = 0.9


class Severity(enum.StrEnum):
    """How bad it is."""

    # The gateway would not start with it.
    ERROR = "error"
    # It may be meant so.
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        severity: How bad it is.
        kind: What it is, for programs.
        says: What it is, for people, and what may have been meant.
        place: Where it stands.

    """

    severity: Severity
    kind: str
    says: str
    place: Place


def doubts(policy: Policy, can_have: Callable[[ClientType, frozenset[str]], bool]) -> Iterator[Finding]:
    """Yield what a gateway would start with, and its operator may not have meant.

    Args:
        policy: The policy.
        can_have: Whether clients of a type can have scopes, all in one token.

    """
    ruled = {route.method.service for route in policy.routes.values() if route.method.rule}
    for path, route in policy.routes.items():
        if route.method.rule is None:
            if route.method.service in ruled:
                says = f"{path} has no rule, so nobody can call it; others of its service have one"
                yield _doubt("no-rule", says, _method_place(policy, route.method))
            continue
        if not any(route.reachable_by(admitted) for admitted in policy.doors.values()):
            types = " ".join(sorted(route.method.rule.client_types))
            says = f"{path} can't be reached: no listener admits {types}"
            yield _doubt("unreachable", says, _rule_place(policy, path))
        elif not _can_be_met(policy, path, can_have):
            says = f"nobody can meet the rule of {path}: no client can have the scopes that it needs"
            yield _doubt("unmeetable", says, _rule_place(policy, path))
    yield from _scopes(policy)
    yield from _idle_restrictions(policy)


def _doubt(kind: str, says: str, place: Place) -> Finding:
    return Finding(Severity.WARNING, kind, says, place)


def _method_place(policy: Policy, method: Method) -> Place:
    return place_of_method(policy.contracts.declared[method.service], method.path) or Place(method.path)


def _rule_place(policy: Policy, path: str) -> Place:
    return next(iter(places_of_rule(policy, path)), Place(path))


def _can_be_met(policy: Policy, path: str, can_have: Callable[[ClientType, frozenset[str]], bool]) -> bool:
    """Say whether somebody can have the scopes; also true if restrictions leave nobody, because that is intended."""
    of_types: Mapping[ClientType, list[Terms]] = {
        who: [found for door in policy.doors if (found := terms(policy, door, path, who))] for who in ALL_CLIENT_TYPES
    }
    if not any(of_types.values()):
        return True
    return any(can_have(who, each.scopes) for who, found in of_types.items() for each in found)


def _scopes(policy: Policy) -> Iterator[Finding]:
    """Yield scopes that stand in one rule only, and are almost another that stands in more."""
    rules = {path: route.method.rule for path, route in policy.routes.items() if route.method.rule}
    uses = Counter(scope for rule in rules.values() for scope in rule.scopes)
    common = [scope for scope, count in uses.items() if count > 1]
    for path, rule in rules.items():
        for scope in sorted(rule.scopes):
            if uses[scope] == 1 and (meant := similar(scope, common, cutoff=_MISTYPED)):
                says = f"the scope {scope} of {path} stands nowhere else; did you mean {meant}?"
                yield _doubt("scope", says, _rule_place(policy, path))


def _idle_restrictions(policy: Policy) -> Iterator[Finding]:
    """Yield restrictions of methods that others close, so that they take nothing more."""
    closed = {
        place: entry.restriction.name
        for entry in policy.entries
        if entry.restriction.closed and entry.restriction.mode is Mode.ENFORCE
        for place in entry.places
    }
    for entry in policy.entries:
        by = {closed.get(place) for place in entry.places}
        if None not in by and entry.restriction.name not in by:
            says = (
                f"{entry.restriction.name} restricts nothing more: {', '.join(sorted(filter(None, by)))} closes it all"
            )
            yield _doubt("idle-restriction", says, place_of_entry(policy, entry))
