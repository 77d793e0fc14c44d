"""`sekisho auth`: works on the auth server as a whole, beside its database."""

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from authserver.declare_restored import Loss, declare_restored, estimate_loss
from authserver.installation import read_installation
from cli.authserver.audit import HeadsOption, checked, show_findings
from cli.authserver.database import ConfigOption, opened, operator, settings_of, shown_time
from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.config import ConfigError
from mesh.timestamps import to_ms

# What no epoch undoes: what was done since the backup was made is undone, and only people know what it was.
_LOOK_AT = (
    "Secrets that were rotated: the old ones work again, the new ones don't. Have them rotated again.",
    "Clients that were deleted: they are there again. Have them deleted again.",
    "Clients, partners and platforms that were blocked: they are not any more. Block them again.",
    "Clients that lost a scope: they have it again. Have them updated again.",
    "Keys that were retired: they are good again. List them, and retire what must not be used.",
    "Clients that were registered: they are gone. Have them registered again, with the statement used before.",
)

auth = typer.Typer(no_args_is_help=True, help="Work on the auth server as a whole.")


@auth.callback()
def _auth() -> None:
    """Make `restored` a command of its own, also while it is the only one."""


@auth.command()
def restored(
    heads: HeadsOption = None,
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say that the auth server's database was restored from a backup. Run this after each restore, before all else.

    Ends all access tokens, so that none lives that was revoked since the backup; clients take new ones at once. Says
    what else is lost, and must be looked at. Auth servers may run meanwhile.

    Example: sekisho auth restored --heads /mnt/log-host/auth-1.jsonl --heads /mnt/log-host/auth-2.jsonl
    """
    settings = settings_of(config, home)
    trail = read_installation(settings).trail
    with opened(settings) as database:
        audit_check, findings = checked(database, settings, heads)
        loss = database.read_here(lambda connection: estimate_loss(connection, audit_check.lost))
        if loss.kept_until and not audit_check.verified:
            raise ConfigError(
                f"no line of the audit log was written with {settings.audit_key}: use that database's key"
            )
        if not as_json:
            show_findings(findings)
            _show(loss, confirmed=audit_check.confirmed)
        if not yes:
            typer.confirm("End all access tokens now?", abort=True, err=True)
        now_ms = to_ms(time.time())
        database.run_here(lambda connection: declare_restored(connection, trail, operator(), loss, now_ms))
    if as_json:
        print_json({**asdict(loss), "findings": [asdict(each) for each in findings], "look_at": _LOOK_AT})
    else:
        console.print("[bold]Done[/]: all access tokens from before are refused within a second.")


def _show(loss: Loss, *, confirmed: int) -> None:
    since = f"after {shown_time(loss.kept_time)}" if loss.kept_time else "at any time"
    if loss.lost_until > loss.kept_until:
        told = f"Lost: lines {loss.kept_until + 1} to {loss.lost_until} of the audit log, and perhaps later ones."
    elif confirmed:
        told = "No exported line of the audit log is lost. What was done after the last export may be."
    else:
        told = "How much is lost can't be told: no exported head was found. See --heads."
    console.print(told, soft_wrap=True)
    console.print(f"Whatever was done {since} must be looked at:")
    for each in _LOOK_AT:
        console.print(f"- {escape(each)}", soft_wrap=True)
