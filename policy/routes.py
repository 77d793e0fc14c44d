"""Who may call what, and where it goes: contracts and configuration, checked against each other."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mesh.access.decision import judge_method
from mesh.access.descriptors import Method
from mesh.access.rules import ClientType, MethodRule
from mesh.calls.infrastructure import INFRASTRUCTURE_SERVICES
from mesh.config import ConfigError
from policy.sources.gateway_config import BackendConfig, GatewayConfig, LimitsConfig


@dataclass(frozen=True, slots=True)
class Route:
    """A method that is served behind the gateway.

    Attributes:
        method: The method and its rule.
        backend: The name of the backend that serves it.

    """

    method: Method
    backend: str

    def reachable_by(self, client_types: frozenset[ClientType]) -> bool:
        """Say whether the method can be reached through a door that lets these client types in."""
        return judge_method(self.method.rule, client_types).passes


def compile_routes(config: GatewayConfig, methods: Mapping[str, Method]) -> Mapping[str, Route]:
    """Return the routes by method path. Methods of services that no backend serves have none.

    Args:
        config: The gateway's configuration.
        methods: All methods of all contracts, by their path.

    Raises:
        ConfigError: If configuration and contracts do not fit, and where.

    """
    _check_names("listener", [listener.name for listener in config.listeners])
    _check_names("backend", [backend.name for backend in config.backends])
    _check_names("service", [service for backend in config.backends for service in backend.services])
    for listener in config.listeners:
        if not listener.client_types:
            raise ConfigError(f"listener {listener.name}: client_types is empty, so nobody could come in")
    declared = {method.service for method in methods.values()}
    for backend in config.backends:
        _check_backend(backend, methods, declared)
    backend_of = {service: backend.name for backend in config.backends for service in backend.services}
    return {
        path: Route(method, backend_of[method.service])
        for path, method in methods.items()
        if method.service in backend_of
    }


def restrictable(
    config: GatewayConfig, routes: Mapping[str, Route]
) -> tuple[Mapping[str, MethodRule], Mapping[str, frozenset[ClientType]]]:
    """Return what restrictions can be for: the rules by method path, and the client types that each listener admits."""
    rules = {path: route.method.rule for path, route in routes.items() if route.method.rule}
    return rules, {listener.name: listener.client_types for listener in config.listeners}


def check_limits(config: LimitsConfig, routes: Mapping[str, Route]) -> None:
    """Refuse limits for calls that nobody may make.

    Raises:
        ConfigError: If a limit is for an unknown method, one without a rule, or clients whom it is not for.

    """
    for path, rates in config.methods.items():
        route = routes.get(path)
        rule = route.method.rule if route else None
        if rule is None:
            raise ConfigError(f"limits, {path}: there is no such method behind the gateway, or it has no rule")
        for client_type in rates.keys() - rule.client_types:
            raise ConfigError(f"limits, {path}: the method is not for {ClientType(client_type)} clients")


def _check_names(kind: str, names: list[str]) -> None:
    if not names:
        raise ConfigError(f"there is no {kind}")
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(f"{kind} {name} is there {count} times")


def _check_backend(backend: BackendConfig, methods: Mapping[str, Method], declared: set[str]) -> None:
    for service in backend.services:
        where = f"backend {backend.name}, service {service}"
        if service in INFRASTRUCTURE_SERVICES:
            raise ConfigError(f"{where}: the gateway answers it itself, for everybody")
        if service not in declared:
            raise ConfigError(f"{where}: no contract declares it")
        if not any(method.rule for method in methods.values() if method.service == service):
            raise ConfigError(f"{where}: none of its methods has a rule, so nobody could reach it")
