"""Why a gateway would not start: every reason that can be told, where it stands, and what may have been meant."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from mesh.access.rules import ClientType
from mesh.config import ChannelConfig, ConfigError, ServerConfig, load
from policy.findings import Finding, Severity
from policy.policy import read_policy
from policy.routes import check_limits, compile_routes, restrictable
from policy.similar_names import similar
from policy.sources.contracts import Contracts, read_contracts
from policy.sources.gateway_config import BackendConfig, GatewayConfig, LimitsConfig, ListenerConfig, RateConfig
from policy.sources.grants import Grant, Grants
from policy.sources.places import Place
from policy.sources.restrictions import Deny, Restriction, RestrictionsFile, compile_restrictions, read_restrictions
from policy.sources.yaml_lines import YamlLines, way_in

T = TypeVar("T")

_STRUCTS = (
    GatewayConfig,
    ListenerConfig,
    ServerConfig,
    BackendConfig,
    ChannelConfig,
    LimitsConfig,
    RateConfig,
    Grants,
    Grant,
    RestrictionsFile,
    Restriction,
    Deny,
)
_KEYS = frozenset(key for struct in _STRUCTS for key in struct.__struct_fields__)
# What stands for a name in an error: in quotes, a method or a service, or what a listener is called.
_NAMES = re.compile(r"[`']([\w.]+)[`']|(/[\w.]+/[\w*]+|\w+(?:\.\w+)+(?:/\w+)?)|listener (\S+)")


def start_errors(file: Path) -> list[Finding]:
    """Return why a gateway with this configuration would not start; nothing if it would."""
    return _Reader(file).read()


class _Reader:
    """Reads as a gateway does, part by part, so that one error does not hide the next."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._files = [file]
        self._errors = dict[str, None]()  # in their order
        self._known: set[str] = {*_KEYS, *ClientType}

    def read(self) -> list[Finding]:
        config = self._try(lambda: load(self._file, GatewayConfig))
        if config:
            self._files += [each for each in (config.grants, config.restrictions) if each]
            self._files += [each for backend in config.backends for each in backend.descriptor_sets]
            self._known |= {listener.name for listener in config.listeners}
            self._parts(config)
            self._try(lambda: read_policy(self._file))  # and whatever the parts don't show
        return [self._finding(error) for error in self._errors]

    def _try(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ConfigError as error:
            self._errors[" ".join(str(error).split())] = None
            return None

    def _parts(self, config: GatewayConfig) -> None:
        contracts = self._try(lambda: read_contracts(config))
        if contracts is None:
            without = replace(config, grants=None)
            contracts = _quietly(lambda: read_contracts(without))
            self._know(contracts)
            return
        self._know(contracts)
        for one in _one_by_one(config):
            self._try(lambda one=one: compile_routes(one, contracts.methods))  # type: ignore[misc]
        routes = self._try(lambda: compile_routes(config, contracts.methods))
        if routes is None:
            return
        self._try(lambda: check_limits(config.limits, routes))
        if found := config.restrictions:
            rules, doors = restrictable(config, routes)
            for number, entry in enumerate(self._try(lambda: read_restrictions(found)) or ()):
                try:
                    compile_restrictions(found, [entry], rules, doors)
                except ConfigError as error:  # alone, each is the first
                    self._errors[str(error).replace("restrictions[0]", f"restrictions[{number}]", 1)] = None

    def _know(self, contracts: Contracts | None) -> None:
        if contracts:
            self._known |= {*contracts.methods, *contracts.declared}
            self._known |= {f"/{service}/*" for service in contracts.declared}

    def _finding(self, error: str) -> Finding:
        file = next((each for each in self._files if error.startswith(f"{each}: ")), self._file)
        said = error.removeprefix(f"{file}: ")
        return Finding(Severity.ERROR, "start", said + self._advice(said), Place(str(file), _line(file, said)))

    def _advice(self, said: str) -> str:
        for name in _names(said):
            if meant := similar(name, self._known):
                return f"; did you mean {meant}?"
        return ""


def _quietly(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ConfigError:
        return None


def _one_by_one(config: GatewayConfig) -> Iterator[GatewayConfig]:
    """Yield the configuration with each service as the only one."""
    for backend in config.backends:
        for service in backend.services:
            yield replace(config, backends=(replace(backend, services=(service,)),))


def _names(said: str) -> Iterable[str]:
    return (next(filter(None, found)).rstrip(":,") for found in _NAMES.findall(said))


def _line(file: Path, said: str) -> int | None:
    """Return the line that an error speaks of."""
    if file.suffix not in {".yaml", ".yml"}:
        return None
    if told := re.search(r"\bline (\d+)", said):
        return int(told[1])
    lines = YamlLines(file)
    for name in _names(said):
        if line := lines.line_of_value(name):
            return line
    return lines.line(*way_in(said))
