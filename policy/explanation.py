"""Why a call is let through or not: the checkpoint's steps one by one, each with the place of what decides it."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mesh.access.decision import Step
from mesh.access.descriptors import service_of
from mesh.access.rules import Caller, MethodRule
from mesh.errors import ServiceError
from policy.policy import Entry, Policy
from policy.similar_names import advice
from policy.sources.places import Place, place_of_method, place_of_rule
from policy.sources.restrictions import Mode
from policy.sources.yaml_lines import YamlLines


class Outcome(enum.StrEnum):
    """What becomes of the call at a point."""

    PASSES = "passes"
    REFUSED = "refused"
    # What only a running mesh can tell.
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a decision; a step may have several.

    Attributes:
        name: What is asked.
        outcome: The answer.
        says: Why, in words.
        places: Where that stands, or where it would have to.

    """

    name: str
    outcome: Outcome
    says: str
    places: Sequence[Place] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision.

    Attributes:
        points: Its points, in the checkpoint's order. None follows the one that refuses.
        refusal: What the caller is told; None if the call is let through.

    """

    points: Sequence[Point]
    refusal: ServiceError | None


def explain(policy: Policy, door: str, path: str, caller: Caller | None) -> Explanation:
    """Return the decision about a call, step by step.

    Args:
        policy: Who may call what.
        door: The listener.
        path: The method, `/package.Service/Method`.
        caller: Whom the token speaks for; None for a call without one.

    """
    explainer = _Explainer(policy, door, path, caller)
    points = []
    for point in explainer.points():
        points.append(point)
        if point.outcome is Outcome.REFUSED:
            break
    return Explanation(points, explainer.verdict.refusal)


def _point(name: str, refusal: ServiceError | None, says: str, *places: Place | None) -> Point:
    outcome = Outcome.REFUSED if refusal else Outcome.PASSES
    said = f"{refusal.reason}: {says}" if refusal else says
    return Point(name, outcome, said, [place for place in places if place])


class _Explainer:
    """Knows why the verdict is as it is, and where that stands."""

    def __init__(self, policy: Policy, door: str, path: str, caller: Caller | None) -> None:
        self._policy, self._door, self._path, self._caller = policy, door, path, caller
        self.verdict = policy.judge(door, path, caller)
        self._lines = YamlLines(policy.file) if policy.file else None

    def points(self) -> Iterator[Point]:
        """Yield the points; one that refuses is the last that counts."""
        route = self._policy.routes.get(self._path)
        rule = self._policy.rule(self._path)
        yield from self._reachable(rule)
        if rule is None:  # for the types: it was refused
            return
        yield self._later("address limit", "how fast calls come from one address", "limits", "address")
        if rule.public:
            yield Point("token", Outcome.PASSES, "the method is public: no token is looked at")
        else:
            yield from self._allowed()
        yield from self._restricted()
        yield self._later("client limit", "how fast, and how many at once, calls of one client come", "limits")
        if route and route.backend:
            says = f"to {route.backend}" + (
                "" if rule.public else ", with a private access token in place of the token"
            )
            yield Point("forwarded", Outcome.PASSES, says, self._service(route.backend))

    def _refusal(self, step: Step) -> ServiceError | None:
        return self.verdict.refusal if self.verdict.step is step else None

    def _reachable(self, rule: MethodRule | None) -> Iterator[Point]:
        """Yield what is one step of the checkpoint, taken apart: it tells nobody why there is no such method."""
        refusal = self._refusal(Step.METHOD)
        contracts = self._policy.contracts.declared.get(service_of(self._path))
        known = self._path in self._policy.contracts.methods
        if not known or contracts is None:
            yield _point("declared", refusal, self._unknown(), *self._places("backends"))
            return
        where = place_of_method(contracts, self._path)
        no_lines = "" if where and where.line else " (its descriptor set has no line numbers: --include_source_info)"
        yield _point("declared", None, f"by a contract{no_lines}", where)
        route = self._policy.routes.get(self._path)
        if route is None:
            says = f"no backend has {service_of(self._path)} among its services"
            yield _point("served", refusal, says, *self._places("backends"))
            return
        if route.backend:
            yield _point("served", None, f"by the backend {route.backend}", *self._service(route.backend))
        if rule is None:
            says = "it has no rule, neither in its contract nor in grants, so it is internal"
            yield _point("rule", refusal, says, where, *self._grants_file())
            return
        yield _point("rule", None, _told(rule), *places_of_rule(self._policy, self._path))
        admitted = " ".join(sorted(self._policy.doors[self._door]))
        says = f"the listener {self._door} admits {admitted}" + (", none of which the rule names" if refusal else "")
        yield _point("listener", refusal, says, *self._listener())

    def _allowed(self) -> Iterator[Point]:
        if (caller := self._caller) is None:
            yield _point("token", self._refusal(Step.TOKEN), "the method needs an access token, and there is none")
            return
        says = f"of a {caller.client_type} client; that it is not expired or revoked, the auth server tells"
        yield Point("token", Outcome.NOT_JUDGED, says)
        refusal = self._refusal(Step.RULE)
        says = (
            refusal.message if refusal else f"{caller.client_type}, with {_listed(caller.scopes)}, satisfies the rule"
        )
        yield _point("client type and scopes", refusal, says, *places_of_rule(self._policy, self._path))

    def _restricted(self) -> Iterator[Point]:
        names = self.verdict.restrictions
        if refusal := self._refusal(Step.RESTRICTIONS):
            yield _point("restrictions", refusal, f"refused by {', '.join(names)}", *self._entries(names))
            return
        here = [entry.restriction.name for entry in self._policy.entries_at(self._door, self._path)]
        says = f"satisfied: {', '.join(here)}" if here else "none for this method and listener"
        if names:
            says = f"{', '.join(names)} would refuse it (mode: {Mode.REPORT})"
        yield _point("restrictions", None, says, *self._entries(here))

    def _unknown(self) -> str:
        service, known = service_of(self._path), self._policy.contracts
        if service in known.declared:
            return f"{service} has no such method{advice(self._path, known.methods)}"
        return f"no contract here declares the service {service}{advice(service, known.declared)}"

    def _later(self, name: str, says: str, *way: str) -> Point:
        places = self._places(*way) if self._policy.config else []
        return Point(name, Outcome.NOT_JUDGED, f"{says}, only a running gateway knows", places)

    def _places(self, *way: str | int) -> list[Place]:
        return [Place(str(self._policy.file), self._lines.line(*way))] if self._lines else []

    def _backend(self, name: str) -> int:
        config = self._policy.config
        return [each.name for each in config.backends].index(name) if config else 0

    def _service(self, backend: str) -> list[Place]:
        if (config := self._policy.config) is None:
            return []
        number = self._backend(backend)
        services = config.backends[number].services
        return self._places("backends", number, "services", services.index(service_of(self._path)))

    def _listener(self) -> list[Place]:
        if (config := self._policy.config) is None:
            return []
        number = [each.name for each in config.listeners].index(self._door)
        return self._places("listeners", number, "client_types")

    def _entries(self, names: Sequence[str]) -> list[Place]:
        found = [entry for entry in self._policy.entries if entry.restriction.name in names]
        return [place_of_entry(self._policy, entry) for entry in found]

    def _grants_file(self) -> list[Place]:
        config = self._policy.config
        if config and config.grants:
            return [Place(str(config.grants), 1)]
        return []


def places_of_rule(policy: Policy, path: str) -> Sequence[Place]:
    """Return where the rule of a method stands: in grants, or in its contract."""
    if policy.config and (grants := policy.config.grants) and (line := YamlLines(grants).line_of_value(path)):
        return [Place(str(grants), line)]
    place = place_of_rule(policy.contracts.declared[service_of(path)], path)
    return [place] if place else []


def place_of_entry(policy: Policy, entry: Entry) -> Place:
    """Return where a restriction stands."""
    file = policy.config.restrictions if policy.config else None
    return Place(str(file), YamlLines(file).line("restrictions", entry.number)) if file else Place("restrictions")


def _told(rule: MethodRule) -> str:
    if rule.public:
        return "public"
    return f"any of {' '.join(sorted(rule.client_types))}, with {_listed(rule.scopes)}"


def _listed(scopes: frozenset[str]) -> str:
    return f"{'scopes' if len(scopes) > 1 else 'scope'} {' '.join(sorted(scopes))}" if scopes else "no scope"
