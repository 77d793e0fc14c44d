"""`sekisho audit`: reads and checks the auth server's audit log, beside its database."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Connection

from authserver.audit.chain import AuditLine
from authserver.audit.check import AuditCheck, Finding
from authserver.audit.heads import read_heads
from authserver.audit.store import BEFORE_ALL, LineFilter, read_audit_head, read_page
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from cli.authserver.database import ConfigOption, opened, settings_of, shown_time
from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.storage.database import Database
from mesh.timestamps import to_ms

HeadsOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        help="A file of exported heads; once for each auth server. Default: the one that the configuration names."
    ),
]

_SHOWN = 100  # findings; more of them say nothing new
_REDRAW_SECONDS = 0.1

audit = typer.Typer(no_args_is_help=True, help="Read and check the auth server's audit log.")


@audit.command(name="list")
def list_(
    actor: Annotated[str | None, typer.Option(help="Only what this one did: client:ID, operator:NAME, …")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, such as client.register.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only what was done to this one, by its id.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only from this time on, UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the lines of the log, the oldest first; with --json each as an object on a line of its own.

    Examples:
    sekisho audit list --action client.register --since 2026-11-01;
    sekisho audit list --actor operator:alice --json | jq .subject

    """
    wanted = LineFilter(actor, action, subject, to_ms(since.replace(tzinfo=UTC).timestamp()) if since else None)
    with opened(settings_of(config, home)) as database:
        for line in _lines(database, wanted):
            if as_json:
                print_json({**asdict(line), "time": shown_time(line.time)})
            else:
                details = " ".join(f"{name}={value}" for name, value in sorted(line.details.items()) if value)
                told = f"{line.sequence:8} {shown_time(line.time)} {line.actor} {line.action} {line.subject} {details}"
                console.print(told.rstrip(), soft_wrap=True, markup=False)


@audit.command()
def check(
    heads: HeadsOption = None,
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check that no line was changed, removed, inserted or reordered since it was written, and that none was cut off.

    The end of the log is checked against the heads that were exported. Ends with status 1 if anything is wrong. May
    run while auth servers do. Changes nothing.

    Example: sekisho audit check --heads /mnt/log-host/auth-1.jsonl --heads /mnt/log-host/auth-2.jsonl
    """
    settings = settings_of(config, home)
    with opened(settings) as database:
        audit_check, findings = checked(database, settings, heads)
    if as_json:
        print_json({"ok": not findings, "findings": [asdict(each) for each in findings], **_counts(audit_check)})
    else:
        show_findings(findings)
        for restore in audit_check.restores:
            when = shown_time(restore.line.time)
            console.print(
                f"{when}: {restore.line.actor} restored the database; lines after {restore.kept_until} are new since",
                soft_wrap=True,
            )
        _show_verdict(findings, audit_check)
    raise typer.Exit(1 if findings else 0)


def checked(
    database: Database, settings: AuthServerConfig, files: list[Path] | None
) -> tuple[AuditCheck, list[Finding]]:
    """Check the audit log against files of exported heads, and show how far it has come on standard error.

    Raises:
        ConfigError: If a file can't be read.

    """
    key = read_installation(settings).audit_key
    files = files or ([settings.audit_heads] if settings.audit_heads else [])
    # Read before the log is: what is exported meanwhile may be of lines that come too late for this check.
    heads = list(chain.from_iterable(read_heads(file, key) for file in files))

    def read(connection: Connection) -> tuple[AuditCheck, list[Finding]]:
        with _progress(read_audit_head(connection).sequence) as advance:
            audit_check = AuditCheck(key, heads, advance)
            return audit_check, list(audit_check.findings(connection))

    return database.read_here(read)


def show_findings(findings: list[Finding]) -> None:
    """Print what is wrong with the log."""
    for finding in findings[:_SHOWN]:
        console.print(f"[red]{finding.what}[/]: {escape(finding.where)}", soft_wrap=True)
    if len(findings) > _SHOWN:
        console.print(f"… and {len(findings) - _SHOWN} more")


def _lines(database: Database, wanted: LineFilter) -> Iterator[AuditLine]:
    """Return lines as they are taken; nothing is held open between pages, however slowly they are read."""
    after = BEFORE_ALL
    while page := database.read_here(lambda connection, after=after: read_page(connection, after, wanted)):  # type: ignore[misc]
        yield from (stored.line for stored in page)
        after = page[-1].line.sequence


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("checking the audit log"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Console(stderr=True)
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task, waiting, drawn = progress.add_task("", total=total), 0, time.monotonic()

        def advance() -> None:
            nonlocal waiting, drawn
            waiting += 1
            if (now := time.monotonic()) - drawn > _REDRAW_SECONDS:
                progress.advance(task, waiting)
                waiting, drawn = 0, now

        yield advance


def _counts(audit_check: AuditCheck) -> dict[str, object]:
    restores = [{"line": each.line.sequence, "kept_until": each.kept_until} for each in audit_check.restores]
    return {"verified": audit_check.verified, "confirmed_heads": audit_check.confirmed, "restores": restores}


def _show_verdict(findings: list[Finding], audit_check: AuditCheck) -> None:
    verdict = "DAMAGED" if findings else "sound"
    console.print(f"[bold]{verdict}[/]: {audit_check.verified} lines, {audit_check.confirmed} exported heads agree")
    if not audit_check.confirmed:
        hint = "No exported head was found to check the end against: see audit_heads in the configuration."
        console.print(hint, soft_wrap=True)
