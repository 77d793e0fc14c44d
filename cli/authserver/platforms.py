"""`sekisho platforms`: shows, changes and blocks platforms, beside the auth server's database."""

from typing import Annotated

import typer
from sqlalchemy import Connection

from authserver.clients.scopes import format_scope, parse_scope
from authserver.clients.store.blocks import is_blocked
from authserver.clients.store.clients import count_clients
from authserver.clients.store.platforms import Platform, list_platforms
from authserver.clients.update_platform import update_platform
from authserver.installation import read_installation
from cli.authserver.blocking import add_commands
from cli.authserver.database import ConfigOption, NotThere, opened, operator, settings_of
from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.access.revocation import Subject

platforms = typer.Typer(
    no_args_is_help=True,
    help="Show platforms and change what they may have; block them with all their partners, and unblock them.",
)


@platforms.command(name="list")
def list_(config: ConfigOption = None, home: HomeOption = DEFAULT_HOME, *, as_json: JsonOption = False) -> None:
    """Print the platforms and what their partners may have; with --json each as an object on a line of its own.

    Example: sekisho platforms list --json | jq 'select(.clients >= .max_clients)'
    """

    def read(connection: Connection) -> list[dict[str, object]]:
        return [
            {
                "platform_id": platform_id,
                "clients": count_clients(connection, platform_id),
                "max_clients": platform.max_clients,
                "partner_scope": format_scope(platform.ceiling),
                "blocked": is_blocked(connection, Subject.PLATFORM, platform_id),
            }
            for platform_id, platform in list_platforms(connection).items()
        ]

    with opened(settings_of(config, home)) as database:
        facts = database.read_here(read)
    for each in facts:
        if as_json:
            print_json(each)
        else:
            blocked = "  BLOCKED" if each["blocked"] else ""
            told = f"{each['platform_id']:20}  {each['clients']} of {each['max_clients']} clients{blocked}"
            console.print(told, soft_wrap=True, markup=False)


@platforms.command()
def update(
    platform_id: Annotated[str, typer.Argument(help="The platform's id.")],
    max_clients: Annotated[
        int | None, typer.Option(min=1, help="How many clients its partners may have together.")
    ] = None,
    add_partner_scope: Annotated[
        str, typer.Option(help="Space-delimited scopes that its partners' clients may have, too.")
    ] = "",
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Change a platform's quota, and raise its ceiling. Clients that are registered stay as they are.

    Examples:
    sekisho platforms update shops --max-clients 20000;
    sekisho platforms update shops --add-partner-scope greetings.write

    """
    added = parse_scope(add_partner_scope) if add_partner_scope else frozenset[str]()
    settings = settings_of(config, home)
    trail = read_installation(settings).trail

    def work(connection: Connection) -> Platform:
        updated = update_platform(connection, trail, operator(), platform_id, max_clients, added)
        if updated is None:
            raise NotThere(f"there is no platform {platform_id}")
        return updated

    with opened(settings) as database:
        platform = database.run_here(work)
    scope = format_scope(platform.ceiling)
    if as_json:
        print_json({"platform_id": platform_id, "max_clients": platform.max_clients, "partner_scope": scope})
    else:
        told = f"platform {platform_id}: at most {platform.max_clients} clients, with {scope}"
        console.print(told, soft_wrap=True, markup=False)


add_commands(platforms, Subject.PLATFORM)
