"""Restrictions: what the operator takes away, for now, from what contracts and grants allow. They can only narrow."""

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import msgspec
import yaml

from mesh.access.narrowing import MAX_NAMED, Narrowings, Restrictions
from mesh.access.rules import SCOPE, ClientType, MethodRule
from mesh.config import Config, ConfigError
from policy.sources.plain_yaml import read_plain

# Names go out in refusals, and into log and metrics.
_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
# Empty is what a caller has who has none, so it would mean somebody else.
_Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
_Scope: TypeAlias = Annotated[str, msgspec.Meta(pattern=rf"^{SCOPE}\Z")]
T = TypeVar("T")
# A list that is there says something: an empty one could be read as nobody or as everybody.
_Some: TypeAlias = Annotated[frozenset[T], msgspec.Meta(min_length=1)]

_MAX_BYTES = 8 * 1024 * 1024
# Pairs of a method at a door and of what refuses there, about 100 bytes each.
_MAX_CAUSES = 1_000_000


class Mode(enum.StrEnum):
    """Whether a restriction is in force, or only tells whom it would refuse."""

    ENFORCE = "enforce"
    REPORT = "report"


class Deny(Config, frozen=True):
    """Whom a restriction shuts out, by any one of these."""

    client_ids: _Some[_Id] | None = None
    # Of clients of partners.
    partner_ids: _Some[_Id] | None = None
    # Of clients that belong to a platform: its own, and its partners'.
    platform_ids: _Some[_Id] | None = None


class Restriction(Config, frozen=True):
    """One entry of `restrictions.yaml`. A call must satisfy each of the last four that the entry has."""

    # What refusals, log and metrics call it; no other has the name.
    name: _Name
    # What it is for: `/package.Service/Method`, or `/package.Service/*` for all methods of a service.
    methods: _Some[str]
    mode: Mode = Mode.ENFORCE
    # The doors that it is for; absent: all.
    listeners: _Some[str] | None = None
    # Only clients of these types still may call.
    client_types: _Some[ClientType] | None = None
    # Tokens need these scopes, too.
    scopes: _Some[_Scope] | None = None
    deny: Deny = Deny()
    # Nobody may call.
    closed: bool = False


class RestrictionsFile(Config, frozen=True):
    """`restrictions.yaml`."""

    # All that are for a call have to be satisfied. An empty list restricts nothing.
    restrictions: tuple[Restriction, ...]


def read_restrictions(file: Path) -> Sequence[Restriction]:
    """Return the entries of a file.

    Raises:
        ConfigError: As the two that follow.

    """
    return parse_restrictions(file, restrictions_content(file))


def restrictions_content(file: Path) -> bytes:
    """Return what is in a file.

    Raises:
        ConfigError: If it can't be read, or is larger than 8 MiB.

    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{file}: larger than {_MAX_BYTES:,} bytes")
    return content


def parse_restrictions(file: Path, content: bytes) -> Sequence[Restriction]:
    """Return the entries of what is in a file.

    Raises:
        ConfigError: If it is not the plainest YAML, or an entry is malformed.

    """
    try:
        # The plain reader returns all values as texts, so they are converted to their types here.
        return msgspec.convert(read_plain(content.decode()), RestrictionsFile, strict=False).restrictions
    except (yaml.YAMLError, ValueError) as error:  # msgspec's and those of decoding are such, too
        raise ConfigError(f"{file}: {error}") from error


def compile_restrictions(
    file: Path,
    restrictions: Iterable[Restriction],
    rules: Mapping[str, MethodRule],
    doors: Mapping[str, frozenset[ClientType]],
) -> Restrictions:
    """Return what restrictions take away, by door and method.

    Args:
        file: Where they come from, for errors.
        restrictions: The entries.
        rules: The rules of the methods behind the gateway that have one, by their path.
        doors: The client types that each door admits, by its name.

    Raises:
        ConfigError: If an entry has another's name, is for an unknown method or listener, restricts nothing, or names
            a client type or listener that could not call before; or if it is all too much.

    """
    compiler = _Compiler(rules, doors)
    for number, restriction in enumerate(restrictions):
        try:
            compiler.add(restriction)
        except ValueError as error:
            raise ConfigError(f"{file}: restrictions[{number}], {restriction.name}: {error}") from error
    return {door: dict(methods) for door, methods in compiler.compiled.items()}


class _Compiler:
    """Puts entries together by door and method."""

    def __init__(self, rules: Mapping[str, MethodRule], doors: Mapping[str, frozenset[ClientType]]) -> None:
        self._rules = rules
        self._doors = doors
        self._meant = defaultdict[str, list[str]](list)  # methods by what may be written for them
        for path in rules:
            self._meant[path].append(path)
            self._meant[f"{path.rpartition('/')[0]}/*"].append(path)
        self._names = set[str]()
        self._causes = 0
        self.compiled: dict[str, dict[str, Narrowings]] = {door: defaultdict(Narrowings) for door in doors}

    def add(self, restriction: Restriction) -> None:
        """Add an entry; ValueError if it makes no sense here."""
        if restriction.name in self._names:
            raise ValueError("another has the same name")
        self._names.add(restriction.name)
        for door, path in self._places(restriction):
            self._causes += _add(restriction, self.compiled[door][path])
            if self._causes > _MAX_CAUSES:
                raise ValueError(f"too much: more than {_MAX_CAUSES:,} pairs of a method and what refuses there")

    def _places(self, restriction: Restriction) -> set[tuple[str, str]]:
        """Return the doors and methods that an entry restricts; ValueError if it makes no sense."""
        if unknown := (restriction.listeners or frozenset()) - self._doors.keys():
            raise ValueError(f"there is no listener {min(unknown)}")
        doors = {each: types for each, types in self._doors.items() if each in (restriction.listeners or self._doors)}
        places = set[tuple[str, str]]()
        for written in sorted(restriction.methods):
            if written not in self._meant:
                raise ValueError(f"there is no {written} behind the gateway, or it has no rule")
            _check_types(restriction, written, [self._rules[path] for path in self._meant[written]], doors.values())
            here = {
                (door, path)
                for path in self._meant[written]
                for door, admitted in doors.items()
                if _narrows(restriction, self._rules[path], admitted)
            }
            if not here:
                raise ValueError(f"it restricts nothing of {written}")
            places |= here
        for listener in (restriction.listeners or frozenset()) - {door for door, _ in places}:
            raise ValueError(f"it restricts nothing at the listener {listener}")
        return places


def _check_types(
    restriction: Restriction, written: str, rules: Sequence[MethodRule], doors: Iterable[frozenset[ClientType]]
) -> None:
    """Refuse an entry whose words say more than it could do."""
    if not restriction.closed and any(rule.public for rule in rules):
        raise ValueError(f"{written} is public, or one of its methods is: that can be closed, and nothing else")
    if restriction.client_types:
        may = {each for rule in rules for admitted in doors for each in rule.client_types & admitted}
        for client_type in sorted(restriction.client_types - may):
            raise ValueError(f"{written} is not for {client_type} clients here, and a restriction can't make it so")


def _narrows(restriction: Restriction, rule: MethodRule, admitted: frozenset[ClientType]) -> bool:
    """Say whether somebody might call by rule and door who may not by the restriction."""
    may = rule.client_types & admitted
    if restriction.closed:
        return rule.public or bool(may)
    deny = restriction.deny
    return bool(may) and bool(
        (restriction.client_types and may - restriction.client_types)
        or (restriction.scopes and restriction.scopes - rule.scopes)
        or deny.client_ids
        or deny.platform_ids
        or (deny.partner_ids and ClientType.PARTNER in may)
    )


def _add(restriction: Restriction, narrowings: Narrowings) -> int:
    """Add what an entry takes away; return how many causes that are."""
    into = narrowings.enforced if restriction.mode is Mode.ENFORCE else narrowings.reported
    deny = restriction.deny
    types = frozenset(ClientType) - restriction.client_types if restriction.client_types else ()
    causes = [
        *([(into.everybody, "")] if restriction.closed else []),
        *((into.client_types, each) for each in types),
        *((into.scopes, each) for each in restriction.scopes or ()),
        *((into.client_ids, each) for each in deny.client_ids or ()),
        *((into.partner_ids, each) for each in deny.partner_ids or ()),
        *((into.platform_ids, each) for each in deny.platform_ids or ()),
    ]
    for refusing, whom in causes:
        names = refusing.get(whom)
        if names is None:
            refusing[whom] = restriction.name
        elif names.count(" ") < MAX_NAMED - 1:
            refusing[whom] = f"{names} {restriction.name}"
    return len(causes)
