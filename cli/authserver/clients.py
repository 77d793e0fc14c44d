"""`sekisho clients`: provisions, shows and blocks clients beside the auth server's database."""

import enum
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from sqlalchemy import Connection

from authserver.clients.authentication_method import AuthMethod, ClientAuthentication, parse_authentication
from authserver.clients.provision import provision_master, provision_staff, renew_secret, update_authentication
from authserver.clients.register import Credentials
from authserver.clients.scopes import format_scope, parse_scope
from authserver.clients.store.blocks import is_blocked
from authserver.clients.store.clients import Client, find_client, list_all_clients
from authserver.clients.store.platforms import Platform
from authserver.tables import MAX_CLIENTS
from cli.authserver.blocking import add_commands
from cli.authserver.database import ConfigOption, NotThere, opened, settings_of, shown_time
from cli.home import DEFAULT_HOME
from cli.local.preparation import provisioner, scopes_of, write_credentials
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.access.revocation import Subject
from mesh.access.rules import ClientType
from mesh.config import ConfigError
from mesh.storage.database import Database

_Facts: TypeAlias = dict[str, Any]
CredentialsOption: TypeAlias = Annotated[
    Path | None, typer.Option(help="Write id and secret to this file, instead of printing them.")
]

MethodOption: TypeAlias = Annotated[
    AuthMethod | None,
    typer.Option(
        "--token-endpoint-auth-method",
        help="How the client authenticates. Default: private_key_jwt with --jwks, otherwise client_secret_basic.",
        show_default=False,
    ),
]
JwksOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="For private_key_jwt: a file with the client's public keys, a JWK set.",
        show_default=False,
    ),
]

clients = typer.Typer(
    no_args_is_help=True, help="Provision clients, which no method on the wire can do; show them, and block them."
)


class Kind(enum.StrEnum):
    """The client types that are provisioned, not registered."""

    MASTER = "master"
    OPERATOR = "operator"
    WALLET = "wallet"


@clients.command()
def create(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command
    kind: Annotated[Kind, typer.Argument(help="The type of the client.")],
    name: Annotated[
        str,
        typer.Argument(
            help="For a Master Client: the platform's id. Otherwise: the name of the person or application."
        ),
    ],
    scope: Annotated[str, typer.Option(help="Space-delimited scopes. Default: all that its type can use.")] = "",
    partner_scope: Annotated[
        str,
        typer.Option(help="For a Master Client: all scopes that its partners' clients may have. Written as --scope."),
    ] = "",
    max_clients: Annotated[
        int, typer.Option(min=1, help="For a Master Client: how many clients its partners may have together.")
    ] = MAX_CLIENTS,
    method: MethodOption = None,
    jwks: JwksOption = None,
    credentials: CredentialsOption = None,
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Create a Master Client (and its platform), an operator or a wallet application. Its secret is shown once.

    With --jwks it has no secret: it signs assertions with its own key.

    Examples:
    sekisho clients create master shops --credentials shops.json;
    sekisho clients create operator alice --scope "reviews.read reviews.write";
    sekisho clients create wallet "The app" --jwks app-jwks.json

    """
    _check_new(credentials)
    authentication = _authentication(method, jwks)
    settings = settings_of(config, home)
    by = provisioner(settings)
    client_type = ClientType(kind.name)
    scopes = parse_scope(scope) if scope else scopes_of(client_type)
    ceiling = parse_scope(partner_scope) if partner_scope else scopes_of(ClientType.PARTNER)

    def provision(connection: Connection) -> Credentials:
        if client_type == ClientType.MASTER:
            created = provision_master(connection, by, name, Platform(ceiling, max_clients), scopes, authentication)
        else:
            created = provision_staff(connection, by, client_type, name, scopes, authentication)
        if credentials:  # before the commit: no client without its secret, whatever happens to the file
            write_credentials(credentials, created)
        return created

    with opened(settings) as database:
        created = database.run_here(provision)
    _show_created(created, credentials, as_json=as_json)


@clients.command()
def rotate_secret(
    client_id: Annotated[str, typer.Argument(help="The id of a Master Client, an operator or a wallet application.")],
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=720, help="How many hours the old secret still works. 0: it stops at once.")
    ] = 0,
    credentials: CredentialsOption = None,
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Give a client that was created here a new secret. It is shown once; without an overlap all tokens end, too.

    A registered client gets a new secret from its platform, by RotateClientSecret.

    Example: sekisho clients rotate-secret cli_01k5j2… --credentials new.json
    """
    _check_new(credentials)
    settings = settings_of(config, home)
    by = provisioner(settings)
    old_expire_time = by.now_ms + overlap_hours * 3_600_000 if overlap_hours else None

    def renew(connection: Connection) -> Credentials:
        renewed = renew_secret(connection, by, client_id, old_expire_time=old_expire_time)
        if credentials:
            write_credentials(credentials, renewed)
        return renewed

    with opened(settings) as database:
        renewed = database.run_here(renew)
    _show_created(renewed, credentials, as_json=as_json)


@clients.command()
def update(
    client_id: Annotated[str, typer.Argument(help="The id of a Master Client, an operator or a wallet application.")],
    method: MethodOption = None,
    jwks: JwksOption = None,
    credentials: CredentialsOption = None,
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Replace how a client that was created here authenticates, or its keys. It gets a secret if it needs its first.

    All its tokens end if it loses a key or its secret; it can take new ones at once.

    Examples:
    sekisho clients update cli_01k5j2… --jwks alice-jwks.json;
    sekisho clients update cli_01k5j2… --token-endpoint-auth-method client_secret_post

    """
    if method is None and jwks is None:
        raise ConfigError("say what to update: --jwks, --token-endpoint-auth-method, or both")
    _check_new(credentials)
    authentication = _authentication(method, jwks)
    settings = settings_of(config, home)
    by = provisioner(settings)

    def change(connection: Connection) -> Credentials:
        changed = update_authentication(connection, by, client_id, authentication)
        if credentials:
            write_credentials(credentials, changed)
        return changed

    with opened(settings) as database:
        changed = database.run_here(change)
    _show_created(changed, credentials, as_json=as_json)


@clients.command(name="list")
def list_(
    platform: Annotated[str, typer.Option(help="Only this platform's, its Master Client among them.")] = "",
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the clients, the newest first; with --json each as an object on a line of its own.

    Examples:
    sekisho clients list --platform shops;
    sekisho clients list --json | jq -r 'select(.blocked) | .client_id'

    """
    with opened(settings_of(config, home)) as database:
        for client in _all_clients(database, platform):
            facts = _facts(client)
            if as_json:
                print_json(facts)
            else:
                whose = client.partner_id or client.platform_id or "-"
                blocked = "  BLOCKED" if client.blocked else ""
                told = f"{client.client_id}  {client.client_type:8}  {whose:30}  {client.client_name}{blocked}"
                console.print(told, soft_wrap=True, markup=False)


@clients.command()
def show(
    client_id: Annotated[str, typer.Argument(help="The client's id.")],
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print what is known of one client: also its keys, when each secret was last used, and what it is blocked by.

    Example: sekisho clients show cli_01k5j2… --json
    """

    def read(connection: Connection) -> _Facts:
        client = find_client(connection, client_id)
        if client is None:
            raise NotThere(f"there is no client {client_id}")
        holders = {
            Subject.CLIENT: client.client_id,
            Subject.PARTNER: client.partner_id,
            Subject.PLATFORM: client.platform_id,
        }
        blocked_by = [holder.lower() for holder, id_ in holders.items() if is_blocked(connection, holder, id_)]
        keys = [{"kid": key.kid, "alg": key.alg} for key in client.authentication.keys]
        return {**_facts(client), "blocked_by": blocked_by, "keys": keys, "secrets": _secrets(client)}

    with opened(settings_of(config, home)) as database:
        facts = database.read_here(read)
    if as_json:
        print_json(facts)
        return
    credentials = {name: facts.pop(name) for name in ("keys", "secrets")}
    _print_facts({**facts, "blocked_by": ", ".join(facts["blocked_by"])})
    for name, each in credentials.items():
        console.print(name)
        for credential in each:
            told = ", ".join(f"{fact} {'never' if value is None else value}" for fact, value in credential.items())
            console.print(f"  {told}", soft_wrap=True, markup=False)


def _check_new(credentials: Path | None) -> None:
    if credentials and (credentials.exists() or not credentials.parent.is_dir()):
        raise ConfigError(f"{credentials} must be a new file in a folder that exists; no credentials are overwritten")


def _authentication(method: AuthMethod | None, jwks: Path | None) -> ClientAuthentication:
    method = method or (AuthMethod.PRIVATE_KEY_JWT if jwks else AuthMethod.CLIENT_SECRET_BASIC)
    try:
        return parse_authentication(method, jwks.read_text(encoding="utf-8") if jwks else "")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{jwks} can't be read: {error}") from error


def _all_clients(database: Database, platform_id: str) -> Iterator[Client]:
    """Return clients as they are taken; nothing is held open between pages, however slowly they are read."""
    before = ""
    while page := database.read_here(partial(list_all_clients, platform_id=platform_id, before=before)):
        yield from page
        before = page[-1].client_id


def _facts(client: Client) -> _Facts:
    return {
        "client_id": client.client_id,
        "client_type": client.client_type.value,
        "client_name": client.client_name,
        "platform_id": client.platform_id,
        "partner_id": client.partner_id,
        "scope": format_scope(client.scopes),
        "token_endpoint_auth_method": client.authentication.method.value,
        "create_time": shown_time(client.create_time),
        "blocked": client.blocked,
    }


def _secrets(client: Client) -> list[_Facts]:
    return [
        {
            "secret_id": secret.secret_id,
            "create_time": shown_time(secret.create_time),
            "expire_time": shown_time(secret.expire_time),
            "last_use_time": shown_time(secret.last_use_time),
        }
        for secret in client.secrets
    ]


def _show_created(created: Credentials, file: Path | None, *, as_json: bool) -> None:
    facts = {
        "client_id": created.client.client_id,
        "client_type": created.client.client_type.value,
        "client_name": created.client.client_name,
        "platform_id": created.client.platform_id,
        "scope": format_scope(created.client.scopes),
        "token_endpoint_auth_method": created.client.authentication.method.value,
    }
    if file:
        facts["credentials"] = str(file)
    elif created.client_secret:
        facts["client_secret"] = created.client_secret
    if as_json:
        print_json(facts)
    else:
        _print_facts(facts)


def _print_facts(facts: _Facts) -> None:
    width = max(map(len, facts))
    for fact, value in facts.items():
        console.print(f"{fact:{width}} {value}".rstrip(), soft_wrap=True, markup=False)


add_commands(clients, Subject.CLIENT)
