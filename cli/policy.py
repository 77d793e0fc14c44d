"""`sekisho policy`: who may call what, as the contracts say."""

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.home import DEFAULT_HOME, Home
from cli.output import HomeOption, JsonOption, console, print_json
from gateway.config import GatewayConfig
from gateway.contracts import read_contracts
from gateway.policy import compile_routes
from mesh.access.descriptors import own_contracts, read_methods, service_of
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from mesh.config import ConfigError, load

policy = typer.Typer(no_args_is_help=True, help="Show who may call what.")


@policy.callback()
def _policy() -> None:
    """Make `table` a command of its own, also while it is the only one."""


@policy.command()
def table(
    config: Annotated[
        Path | None,
        typer.Option(help="The gateway's configuration: shows what each of its listeners lets through."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show each method with the client types and scopes that it needs. Methods without a rule are unreachable.

    Without --config, and without one in --home, shows what the contracts alone say.

    Example: sekisho policy table --config /etc/sekisho/gateway.yaml
    """
    methods = read_methods(own_contracts())
    doors: dict[str, frozenset[ClientType]] = {"contracts": ALL_CLIENT_TYPES}
    reachable = set(methods)
    if file := config or _config_in(Home.at(home)):
        settings = load(file, GatewayConfig)
        doors = {listener.name: listener.client_types for listener in settings.listeners}
        methods = read_contracts(settings).methods
        reachable = set(compile_routes(settings, methods))
    rows: list[dict[str, Any]] = [
        {
            "listener": door,
            "method": path,
            "public": bool(method.rule and method.rule.public),
            "client_types": sorted(method.rule.client_types & admitted) if method.rule else [],
            "scopes": sorted(method.rule.scopes) if method.rule else [],
        }
        for door, admitted in doors.items()
        for path, method in methods.items()
        if path in reachable
    ]
    if as_json:
        print_json(rows)
        return
    title = f"as {file} says" if file else "as the contracts say"
    for door in doors:
        console.print(_text([row for row in rows if row["listener"] == door], f"{door}: {title}"))


def _text(rows: list[dict[str, Any]], title: str) -> Table:
    """Lay rows out by service."""
    text = Table("method", "who", "scopes", title=title)
    for service, methods in itertools.groupby(rows, lambda row: service_of(row["method"])):
        text.add_section()
        text.add_row(f"[bold]{service}[/]")
        for row in methods:
            who = "everybody" if row["public"] else " ".join(row["client_types"]) or "[dim]nobody[/]"
            text.add_row(f"  {row['method'].rpartition('/')[2]}", who, " ".join(row["scopes"]))
    return text


def _config_in(home: Home) -> Path | None:
    try:
        return home.config("gateway")
    except ConfigError:
        return None
