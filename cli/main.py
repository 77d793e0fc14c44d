"""The `sekisho` command."""

import sys

import typer

from authserver.errors import InvalidScope
from authserver.provision_client import ProvisioningError
from cli.clients import clients
from cli.demo import demo
from cli.ledger import ledger
from cli.migrate import migrate
from cli.policy import policy
from cli.serve import serve
from cli.supervisor import ServiceDied
from cli.up import up
from mesh.access.descriptors import PolicyError
from mesh.config import ConfigError
from mesh.database import DatabaseUnavailable

_ADVISED = (ConfigError, PolicyError, ServiceDied, ProvisioningError, InvalidScope, DatabaseUnavailable)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sekisho, a checkpoint for gRPC: lets another company's platform call your services, one tenant at a time.",
)
app.command()(up)
app.command()(demo)
app.command()(serve)
app.command()(migrate)
app.add_typer(policy, name="policy")
app.add_typer(clients, name="clients")
app.add_typer(ledger, name="ledger")


def main() -> None:
    """Run the command; what its user can mend is said in one line."""
    try:
        app()
    except _ADVISED as error:
        print(f"sekisho: {error}", file=sys.stderr)  # noqa: T201 - where a command's errors go
        sys.exit(2)
