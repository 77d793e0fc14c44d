"""Grants: rules for methods whose contracts carry none, as the operator of the gateway gives them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec

from mesh.access.descriptors import Method
from mesh.access.rules import ClientType, MethodRule
from mesh.config import Config, ConfigError, load


class Grant(Config, frozen=True):
    """Who may call some methods: any one of the client types, with all of the scopes; or everybody."""

    # The methods, each as `/package.Service/Method`.
    methods: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    # Any one of them suffices.
    client_types: frozenset[ClientType] = frozenset()
    # All of them are needed.
    scopes: frozenset[str] = frozenset()
    # Whether callers need no token at all; excludes the other two.
    public: bool = False


class Grants(Config, frozen=True):
    """`grants.yaml`."""

    # At most one for each method.
    grants: Annotated[tuple[Grant, ...], msgspec.Meta(min_length=1)]


def with_grants(file: Path, methods: Mapping[str, Method]) -> dict[str, Method]:
    """Return the methods, those without a rule with the one that the file grants, if any.

    Args:
        file: The grants.
        methods: The methods that may be granted, by their path. Sekisho's own are not among them: those that
            carry no rule are internal.

    Raises:
        ConfigError: If the file can't be read, or a grant says nothing, contradicts itself, names no such method, or
            one that has a rule.

    """
    after = dict(methods)
    for number, grant in enumerate(load(file, Grants).grants):
        where = f"{file}: grants[{number}]"
        try:
            rule = MethodRule(grant.client_types, grant.scopes, grant.public)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
        for path in grant.methods:
            method = after.get(path)
            if method is None:
                raise ConfigError(f"{where}: no descriptor set of a backend that serves it declares {path}")
            if method.rule:
                already = "has a rule in its contract" if methods[path].rule else "is granted twice"
                raise ConfigError(f"{where}: {path} {already}")
            after[path] = replace(method, rule=rule)
    return after
