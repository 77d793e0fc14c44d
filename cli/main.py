"""The `sekisho` command."""

import sys

import typer

from authserver.errors import InvalidScope
from authserver.provision_client import ProvisioningError
from authserver.rotate_keys import KeyChangeRefused
from cli.audit import audit
from cli.auth import auth
from cli.beside import NotThere
from cli.clients import clients
from cli.demo import demo
from cli.keys import keys
from cli.ledger import ledger
from cli.migrate import migrate
from cli.platforms import platforms
from cli.policy.command import policy
from cli.prepare import prepare
from cli.serve import serve
from cli.shut_out import partners
from cli.supervisor import ServiceDied
from cli.top import top
from cli.up import up
from mesh.access.descriptors import PolicyError
from mesh.config import ConfigError
from mesh.database import DatabaseUnavailable

_ADVISED = (
    ConfigError,
    PolicyError,
    ServiceDied,
    ProvisioningError,
    KeyChangeRefused,
    InvalidScope,
    DatabaseUnavailable,
    NotThere,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sekisho, a checkpoint for gRPC: lets another company's platform call your services, one tenant at a time.",
)
app.command()(up)
app.command()(top)
app.command()(demo)
app.command()(prepare)
app.command()(serve)
app.command()(migrate)
app.add_typer(policy, name="policy")
app.add_typer(clients, name="clients")
app.add_typer(partners, name="partners")
app.add_typer(platforms, name="platforms")
app.add_typer(keys, name="keys")
app.add_typer(ledger, name="ledger")
app.add_typer(audit, name="audit")
app.add_typer(auth, name="auth")


def main() -> None:
    """Run the command; what its user can mend is said in one line."""
    try:
        app()
    except _ADVISED as error:
        print(f"sekisho: {error}", file=sys.stderr)  # noqa: T201 - where a command's errors go
        sys.exit(2)
