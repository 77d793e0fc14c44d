"""The `sekisho` command."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from mesh.errors import Mendable

# Each command: where it is, and what `sekisho --help` says of it, which is the first paragraph of its own help. A
# command's module imports what it works with, down to whole services; only the one that runs is worth the time.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("cli.local.up", "Start everything on this machine, and stay until Ctrl-C or SIGTERM."),
    "top": (
        "cli.local.top",
        "Watch the mesh that is up: calls per second, refusals by reason, latency, and who calls, until Ctrl-C.",
    ),
    "demo": (
        "cli.demo.command",
        "Tell the whole story once, on real processes: a shop opens, an order is paid and another refunded.",
    ),
    "prepare": (
        "cli.local.prepare",
        "Write all that `sekisho up` writes, and start nothing: `sekisho serve` then runs the services, one by one.",
    ),
    "serve": ("cli.serve", "Run one service in this process until SIGTERM. Logs go to standard error, as JSON lines."),
    "migrate": (
        "cli.migrate",
        "Bring databases to the schema that this version works on. Running it again does nothing.",
    ),
    "policy": ("cli.policy.command", "Show, explain, check and compare who may call what; needs no mesh."),
    "envoy": ("cli.envoy", "Have Envoy carry the calls: render its configuration."),
    "clients": (
        "cli.authserver.clients",
        "Provision clients, which no method on the wire can do; show them, and block them.",
    ),
    "partners": ("cli.authserver.blocking", "Block partners, and unblock them."),
    "platforms": (
        "cli.authserver.platforms",
        "Show platforms and change what they may have; block them with all their partners, and unblock them.",
    ),
    "statements": (
        "cli.statements",
        "Issue software statements: signed approvals of partners, with which a platform registers them.",
    ),
    "keys": ("cli.authserver.keys", "Show, rotate and retire the auth server's own keys."),
    "ledger": ("cli.ledger", "Check the ledger."),
    "audit": ("cli.authserver.audit", "Read and check the auth server's audit log."),
    "auth": ("cli.authserver.auth", "Work on the auth server as a whole."),
}


def load(name: str) -> Any:  # noqa: ANN401 - a command of click's, which typer carries under a private name
    """Import a command's module, and return the command or the group of commands that goes by the same name there."""
    import structlog  # noqa: PLC0415 - as what follows, only for a command that runs

    # What is logged, by default to standard output, is what the command ends with, in the words of a server.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    module, _ = COMMANDS[name]
    found = getattr(import_module(module), name)
    alone = typer.Typer(add_completion=False)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return typer.main.get_group(alone).commands[name]


class _Commands(TyperGroup):
    """Lists commands by the table, and loads the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:  # noqa: ANN401 - see `load`
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else command, rest


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sekisho, a checkpoint for gRPC: lets another company's platform call your services, one tenant at a time.",
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - for this alone

        print(f"sekisho {version('sekisho')}")  # noqa: T201 - this is what the option is for
        raise typer.Exit


@app.callback()
def _app(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version, and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""
    del version


def _listed() -> None:
    """Stand for a command that is listed and not loaded."""


for _name, (_, _says) in COMMANDS.items():
    app.command(_name, help=_says)(_listed)


def main() -> None:
    """Run the command; what its user can mend is said in one line."""
    try:
        app()
    except Mendable as error:
        cause = getattr(error.__cause__, "orig", None)  # what a database said
        _fail(f"{error}: {' '.join(str(cause).split())}" if cause else str(error))
    except OSError as error:  # of a path that somebody typed, or of one below it
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}")


def _fail(message: str) -> NoReturn:
    print(f"sekisho: {message}", file=sys.stderr)  # noqa: T201 - where a command's errors go
    sys.exit(2)
