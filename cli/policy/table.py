"""`sekisho policy table`: who may call what, as a table."""

import enum
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeAlias

import typer
from rich.table import Table

from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from cli.policy.sources import ConfigOption, ListenerOption, SetOption, chosen, doors_of
from mesh.access.descriptors import service_of
from mesh.access.rules import ClientType
from mesh.config import ConfigError
from policy.changes import terms
from policy.policy import Policy
from policy.sources.restrictions import Mode, Restriction

_Row: TypeAlias = dict[str, Any]


class Format(enum.StrEnum):
    """How the table is printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


def table(
    config: ConfigOption = None,
    descriptor_set: SetOption = None,
    listener: ListenerOption = None,
    home: HomeOption = DEFAULT_HOME,
    format_: Annotated[Format | None, typer.Option("--format", help="How to print it.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show each method with the client types and scopes that it needs, and what restrictions take away.

    Methods without a rule are unreachable. Without --config, and without one in --home, shows what the contracts alone
    say.

    Examples:
    sekisho policy table --config /etc/sekisho/gateway.yaml;
    sekisho policy table --listener public --format markdown > policy.md

    """
    if as_json and format_ not in {None, Format.JSON}:
        raise ConfigError(f"--json and --format {format_} exclude each other")
    policy = chosen(config, descriptor_set, home)
    doors = doors_of(policy, listener)
    rows = rows_of(policy, doors)
    if as_json or format_ is Format.JSON:
        print_json(rows)
        return
    source = policy.file or descriptor_set or "contracts alone"
    for door in doors:
        shown = [row for row in rows if row["listener"] == door]
        if format_ is Format.MARKDOWN:
            print(_markdown(shown, f"{door}, by {source}"))  # noqa: T201 - rich would break the lines
        else:
            console.print(_text(shown, f"{door}, by {source}"))


def rows_of(policy: Policy, doors: Sequence[str]) -> list[_Row]:
    """Return the rows of the table, by door and method."""
    rules_alone = replace(policy, restrictions={})
    return [_row(policy, rules_alone, door, path) for door in doors for path in policy.routes]


def _row(policy: Policy, rules_alone: Policy, door: str, path: str) -> _Row:
    rule = policy.rule(path)
    public = terms(rules_alone, door, path, None) is not None
    return {
        "listener": door,
        "method": path,
        "public": public,
        "client_types": [] if public else [who for who in sorted(ClientType) if terms(rules_alone, door, path, who)],
        "scopes": sorted(rule.scopes) if rule else [],
        "restrictions": [
            {"name": entry.restriction.name, "mode": entry.restriction.mode, "takes": takes(entry.restriction)}
            for entry in policy.entries_at(door, path)
        ],
    }


def takes(restriction: Restriction) -> str:
    """Return what a restriction takes away, in words."""
    deny = {
        "client": restriction.deny.client_ids,
        "partner": restriction.deny.partner_ids,
        "platform": restriction.deny.platform_ids,
    }
    return "; ".join(
        [
            *(["closed"] if restriction.closed else []),
            *([f"only {' '.join(sorted(restriction.client_types))}"] if restriction.client_types else []),
            *([f"needs {' '.join(sorted(restriction.scopes))}"] if restriction.scopes else []),
            *(f"not {kind} {' '.join(sorted(ids))}" for kind, ids in deny.items() if ids),
        ]
    )


def _cells(row: _Row) -> tuple[str, str, str]:
    """Return who may call, with which scopes, and what is taken away."""
    who = "everybody" if row["public"] else " ".join(row["client_types"]) or "nobody"
    taken = [
        f"{'(would be) ' if each['mode'] == Mode.REPORT else ''}{each['takes']} [{each['name']}]"
        for each in row["restrictions"]
    ]
    return who, " ".join(row["scopes"]), ", ".join(taken)


def _text(rows: Sequence[_Row], title: str) -> Table:
    """Lay rows out by service; what is taken away has a column if anything is."""
    restricted = any(row["restrictions"] for row in rows)
    text = Table("method", "who", "scopes", *(["restrictions"] if restricted else []), title=title)
    for service, methods in itertools.groupby(rows, lambda row: service_of(row["method"])):
        text.add_section()
        text.add_row(f"[bold]{service}[/]")
        for row in methods:
            who, scopes, taken = (cell.replace("[", r"\[") for cell in _cells(row))
            who = "[dim]nobody[/]" if who == "nobody" else who
            cells = [f"  {row['method'].rpartition('/')[2]}", who, scopes, taken]
            text.add_row(*cells[: len(text.columns)])
    return text


def _markdown(rows: Sequence[_Row], title: str) -> str:
    lines = [f"## {title}", "", "| method | who | scopes | restrictions |", "| --- | --- | --- | --- |"]
    for row in rows:
        cells = [cell.replace("|", r"\|") for cell in _cells(row)]
        lines.append(f"| `{row['method']}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
