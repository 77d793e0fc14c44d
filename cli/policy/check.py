"""`sekisho policy check`: what is wrong with a policy, or looks so."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from authserver.clients.scopes import format_scope, parse_scope
from authserver.clients.store.clients import scopes_in_use
from authserver.clients.store.platforms import list_platforms
from authserver.errors import InvalidScope
from cli.authserver.database import opened, settings_of
from cli.home import DEFAULT_HOME, Home
from cli.output import HomeOption, JsonOption, console, print_json
from cli.policy.sources import ConfigOption, SetOption, chosen, config_in
from mesh.access.rules import ClientType
from mesh.config import ConfigError
from policy.findings import Finding, Severity, doubts
from policy.start_errors import start_errors


def check(
    config: ConfigOption = None,
    descriptor_set: SetOption = None,
    auth_config: Annotated[
        Path | None,
        typer.Option(help="The auth server's configuration: its database tells which scopes clients can have."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a policy: what a gateway would not start with, and what its operator may not have meant.

    Errors are whatever a gateway refuses: among them names that are unknown, restrictions that restrict nothing or
    would widen. Warnings are methods that no listener lets anybody reach, methods without a rule beside others that
    have one, rules that nobody can meet, scopes that look mistyped, and restrictions of what others close. The exit
    status is 1 if there is an error or, with --strict, a warning.

    Examples:
    sekisho policy check --config gateway.yaml --strict;
    sekisho policy check --config gateway.yaml --auth-config authserver.yaml --json

    """
    file = config or (None if descriptor_set else config_in(Home.at(home)))
    if config and not config.is_file():
        raise ConfigError(f"{config}: no such file")
    findings = start_errors(file) if file and not descriptor_set else []
    if not findings:
        findings = list(doubts(chosen(config, descriptor_set, home), _can_have(auth_config, home)))
    if as_json:
        print_json([_facts(finding) for finding in findings])
    else:
        _show(findings)
    if any(strict or finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(1)


def _can_have(auth_config: Path | None, home: Path) -> Callable[[ClientType, frozenset[str]], bool]:
    """Return what says whether clients of a type can have scopes: as the database says, or else if a token has room."""
    found: set[tuple[ClientType, frozenset[str]]] | None = None
    if auth_config:

        def read(connection: Connection) -> set[tuple[ClientType, frozenset[str]]]:
            ceilings = {platform.ceiling for platform in list_platforms(connection).values()}
            return scopes_in_use(connection) | {(ClientType.PARTNER, ceiling) for ceiling in ceilings}

        with opened(settings_of(auth_config, home)) as database:
            found = database.read_here(read)

    def can_have(client_type: ClientType, scopes: frozenset[str]) -> bool:
        try:
            if scopes:
                parse_scope(format_scope(scopes))
        except InvalidScope:
            return False
        return found is None or any(who == client_type and scopes <= each for who, each in found)

    return can_have


def _facts(finding: Finding) -> dict[str, object]:
    return {
        "severity": finding.severity,
        "kind": finding.kind,
        "says": finding.says,
        "file": finding.place.file,
        "line": finding.place.line,
    }


def _show(findings: Sequence[Finding]) -> None:
    for finding in findings:
        told = f"{finding.place}: {finding.severity}: {finding.says}"
        console.print(told, soft_wrap=True, markup=False)
    counts = {severity: sum(finding.severity is severity for finding in findings) for severity in Severity}
    console.print(", ".join(f"{severity}s: {count}" for severity, count in counts.items()))
