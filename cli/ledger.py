"""`sekisho ledger`: checks the ledger beside its database."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from cli.home import DEFAULT_HOME, Home
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.config import ConfigError
from mesh.storage.database import Database
from mesh.storage.schema import require_current
from payments.ledger_check import Finding, LedgerCheck

_SHOWN = 100  # findings, after which more of them say nothing new

ledger = typer.Typer(no_args_is_help=True, help="Check the ledger.")


@ledger.callback()
def _ledger() -> None:
    """Make `check` a command of its own, also while it is the only one."""


@ledger.command()
def check(
    database: Annotated[str | None, typer.Option(help="The SQLAlchemy URL. Default: the one in --home.")] = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check that every transaction balances, and that every balance is what its entries say. Changes nothing.

    Ends with status 1 if anything is wrong. May run while payments are made.

    Example: sekisho ledger check --database sqlite:////var/lib/sekisho/payments.db
    """
    opened = Database(database or Home.at(home).database("payments"))
    url = opened.engine.url
    file = url.database if url.get_backend_name() == "sqlite" else None
    if file and not Path(file).exists():  # SQLite would make one
        raise ConfigError(f"{file} is not there")
    ledger_check = LedgerCheck()

    def read(connection: Connection) -> list[Finding]:
        require_current(connection, "payments")
        found = ledger_check.findings(connection)
        with console.status("checking the ledger …") if not as_json else console.capture():
            return [finding for finding, _ in zip(found, range(_SHOWN), strict=False)]

    try:
        findings = opened.read_here(read)
    finally:
        opened.close()
    if as_json:
        print_json({"ok": not findings, "findings": [asdict(each) for each in findings], **asdict(ledger_check)})
    else:
        _show(findings, ledger_check)
    raise typer.Exit(1 if findings else 0)


def _show(findings: list[Finding], checked: LedgerCheck) -> None:
    for finding in findings:
        where = f"{finding.what}: {finding.where}"
        console.print(f"[red]{where}[/]: expected {finding.expected}, found {finding.found}", soft_wrap=True)
    if len(findings) == _SHOWN:
        console.print(f"… and perhaps more: the check ended after {_SHOWN}")
    counted = ", ".join(f"{count} {what}" for what, count in asdict(checked).items())
    console.print(f"[bold]{'DAMAGED' if findings else 'sound'}[/]: checked {counted}")
