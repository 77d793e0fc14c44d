"""`sekisho clients`: provisions clients beside the auth server's database."""

import enum
import time
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from authserver.config import AuthServerConfig
from authserver.provision_client import provision_master, provision_staff
from authserver.register_client import Credentials
from authserver.scopes import format_scope, parse_scope
from cli.home import DEFAULT_HOME, Home
from cli.output import HomeOption, JsonOption, console, print_json
from cli.preparation import scopes_of, write_credentials
from mesh.access.rules import ClientType
from mesh.config import ConfigError, load
from mesh.database import Database
from mesh.secret_files import read_key
from mesh.timestamps import to_ms

clients = typer.Typer(no_args_is_help=True, help="Provision clients. No method on the wire can do this.")


class Kind(enum.StrEnum):
    """The client types that are provisioned, not registered."""

    MASTER = "master"
    OPERATOR = "operator"
    WALLET = "wallet"


@clients.command()
def create(  # noqa: PLR0913 - one parameter for each option of the command
    kind: Annotated[Kind, typer.Argument(help="The type of the client.")],
    name: Annotated[str, typer.Argument(help="The platform's id for a Master Client; otherwise whose client it is.")],
    scope: Annotated[str, typer.Option(help="Space-delimited scopes. All that its type can use if absent.")] = "",
    partner_scope: Annotated[
        str, typer.Option(help="For a Master Client: the most that its partners' clients may have. As --scope.")
    ] = "",
    credentials: Annotated[
        Path | None, typer.Option(help="Write id and secret to this file, instead of printing them.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The auth server's configuration. The one in --home if absent.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Create a Master Client (and its platform), an operator or a wallet application. The secret is shown once.

    Examples:
    sekisho clients create master shops --credentials shops.json;
    sekisho clients create operator alice --scope "reviews.read reviews.write"

    """
    if credentials and (credentials.exists() or not credentials.parent.is_dir()):
        raise ConfigError(f"{credentials} must be a new file in a folder that exists; no credentials are overwritten")
    file = config or Home.at(home).config("authserver")
    settings = load(file, AuthServerConfig)
    pepper, now_ms = read_key(settings.pepper), to_ms(time.time())
    client_type = ClientType(kind.name)
    scopes = parse_scope(scope) if scope else scopes_of(client_type)
    ceiling = parse_scope(partner_scope) if partner_scope else scopes_of(ClientType.PARTNER)

    def provision(connection: Connection) -> Credentials:
        if client_type == ClientType.MASTER:
            created = provision_master(connection, pepper, name, scopes=scopes, ceiling=ceiling, now_ms=now_ms)
        else:
            created = provision_staff(connection, pepper, client_type, name, scopes=scopes, now_ms=now_ms)
        if credentials:  # before the commit: no client without its secret, whatever happens to the file
            write_credentials(credentials, created)
        return created

    database = Database(settings.database)
    try:
        created = database.run_here(provision)
    finally:
        database.close()
    _show(created, credentials, as_json=as_json)


def _show(created: Credentials, file: Path | None, *, as_json: bool) -> None:
    facts = {
        "client_id": created.client.client_id,
        "client_type": created.client.client_type.value,
        "client_name": created.client.client_name,
        "platform_id": created.client.platform_id,
        "scope": format_scope(created.client.scopes),
    }
    if file:
        facts["credentials"] = str(file)
    else:
        facts["client_secret"] = created.client_secret
    if as_json:
        print_json(facts)
        return
    for fact, value in facts.items():
        console.print(f"{fact:14} {value}", soft_wrap=True)
