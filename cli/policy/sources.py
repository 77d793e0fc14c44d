"""What the policy commands read: the options that name it, and the policy that it makes."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from cli.home import Home
from mesh.access.descriptors import PolicyError, own_contracts
from mesh.config import ConfigError
from policy.policy import Policy, policy_of, read_policy
from policy.similar_names import advice
from policy.sources.descriptor_sets import read_descriptor_set

ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config", help="The gateway's configuration. Default: the one in --home; without one, the contracts alone."
    ),
]
SetOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--descriptor-set", help="A compiled set of contracts, judged alone, in place of a configuration."),
]
ListenerOption: TypeAlias = Annotated[str | None, typer.Option("--listener", help="This listener only.")]


def chosen(config: Path | None, descriptor_set: Path | None, home: Path) -> Policy:
    """Return the policy that options name.

    Raises:
        ConfigError: If it can't be read, makes no sense, or is named twice.

    """
    if config and descriptor_set:
        raise ConfigError("--config and --descriptor-set exclude each other")
    if descriptor_set:
        return policy_of_set(descriptor_set)
    if file := config or config_in(Home.at(home)):
        return read_policy(file)
    return policy_of(own_contracts())


def policy_of_set(file: Path) -> Policy:
    """Return what a descriptor set says.

    Raises:
        ConfigError: If it can't be read, or a rule makes no sense.

    """
    contracts = read_descriptor_set(file)
    try:
        return policy_of(contracts)
    except PolicyError as error:
        raise ConfigError(f"{file}: {error}") from error


def config_in(home: Home) -> Path | None:
    """Return the gateway's configuration in a home; None if there is none."""
    try:
        return home.config("gateway")
    except ConfigError:
        return None


def doors_of(policy: Policy, listener: str | None) -> list[str]:
    """Return the doors that are asked for: one, or all.

    Raises:
        ConfigError: If there is no such listener.

    """
    if listener is None:
        return list(policy.doors)
    if listener not in policy.doors:
        raise ConfigError(f"there is no listener {listener}{advice(listener, policy.doors)}")
    return [listener]


def method_path(name: str) -> str:
    """Return a method's path, however it is written: `/a.S/M`, `a.S/M` or `a.S.M`."""
    name = name.removeprefix("/")
    return "/" + (name if "/" in name else "/".join(name.rsplit(".", 1)))
