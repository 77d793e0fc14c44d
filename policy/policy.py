"""The policy as files say it, whole and without a running mesh: contracts, grants, configuration, restrictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from mesh.access.decision import Verdict, judge
from mesh.access.descriptors import read_methods
from mesh.access.narrowing import Narrowings, Restrictions
from mesh.access.rules import ALL_CLIENT_TYPES, Caller, ClientType, MethodRule
from mesh.config import load
from policy.routes import Route, check_limits, compile_routes, restrictable
from policy.sources.contracts import Contracts, read_contracts
from policy.sources.gateway_config import GatewayConfig
from policy.sources.restrictions import Restriction, compile_restrictions, read_restrictions

# The one door of contracts that no configuration puts behind any.
ANY_DOOR = "contracts"


@dataclass(frozen=True, slots=True)
class Entry:
    """A restriction.

    Attributes:
        number: Its place in the file, from 0 on.
        restriction: What it says.
        places: The door and the path of each method that it narrows.

    """

    number: int
    restriction: Restriction
    places: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may call what.

    Attributes:
        contracts: All methods, and what declares their services.
        routes: The methods behind the gateway, by their path.
        doors: The client types that each listener admits, by its name.
        restrictions: What is taken away, by door and method.
        entries: The entries of the file that says so, with what each is for.
        file: The gateway's configuration; None if there is none, and contracts speak for themselves.
        config: What it says.

    """

    contracts: Contracts
    routes: Mapping[str, Route]
    doors: Mapping[str, frozenset[ClientType]]
    restrictions: Restrictions = field(default_factory=dict)
    entries: Sequence[Entry] = ()
    file: Path | None = None
    config: GatewayConfig | None = None

    def entries_at(self, door: str, path: str) -> Sequence[Entry]:
        """Return the restrictions that narrow a method at a door."""
        return [entry for entry in self.entries if (door, path) in entry.places]

    def narrowings(self, door: str, path: str) -> Narrowings:
        """Return what restrictions take away from a method at a door."""
        return self.restrictions.get(door, {}).get(path) or Narrowings()

    def rule(self, path: str) -> MethodRule | None:
        """Return the rule of a method; None if it has none, or is not behind the gateway."""
        route = self.routes.get(path)
        return route.method.rule if route else None

    def judge(self, door: str, path: str, caller: Caller | None) -> Verdict:
        """Judge a call as the gateway does, as far as files can tell.

        What only a running mesh knows is not judged: limits, revocation, a service that can't be reached.

        Args:
            door: The listener.
            path: The method, `/package.Service/Method`.
            caller: Whom the token speaks for; None for a call without one.

        """
        return judge(self.rule(path), self.doors.get(door, frozenset()), caller, self.narrowings(door, path))


def read_policy(file: Path) -> Policy:
    """Return the policy that a gateway with this configuration would have.

    Raises:
        ConfigError: As the gateway would at its start, with the same words.

    """
    config = load(file, GatewayConfig)
    contracts = read_contracts(config)
    routes = compile_routes(config, contracts.methods)
    check_limits(config.limits, routes)
    rules, doors = restrictable(config, routes)
    if (found := config.restrictions) is None:
        return Policy(contracts, routes, doors, file=file, config=config)
    entries = read_restrictions(found)
    restrictions = compile_restrictions(found, entries, rules, doors)
    placed = [
        Entry(number, entry, _places(compile_restrictions(found, [entry], rules, doors)))
        for number, entry in enumerate(entries)
    ]
    return Policy(contracts, routes, doors, restrictions, placed, file, config)


def _places(restrictions: Restrictions) -> frozenset[tuple[str, str]]:
    return frozenset((door, path) for door, methods in restrictions.items() for path in methods)


def policy_of(contracts: FileDescriptorSet) -> Policy:
    """Return what contracts alone say: all of their services, and one door, which admits everybody.

    Raises:
        PolicyError: If a rule makes no sense.

    """
    methods = read_methods(contracts)
    declared = dict.fromkeys((method.service for method in methods.values()), contracts)
    routes = {path: Route(method, "") for path, method in methods.items()}
    return Policy(Contracts(methods, declared), routes, {ANY_DOOR: ALL_CLIENT_TYPES})
