"""`sekisho migrate`."""

from typing import Annotated

import typer

from cli.home import DEFAULT_HOME, Home
from cli.local.preparation import MIGRATED
from cli.local.preparation import migrate as migrate_database
from cli.output import HomeOption, JsonOption, console, print_json
from cli.serve import ServiceName
from mesh.config import ConfigError


def migrate(
    service: Annotated[ServiceName | None, typer.Argument(help="Which service's database. Default: all.")] = None,
    database: Annotated[str | None, typer.Option(help="Its SQLAlchemy URL. Default: the one in --home.")] = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Bring databases to the schema that this version works on. Running it again does nothing.

    Example: sekisho migrate payments --database sqlite:////var/lib/sekisho/payments.db
    """
    if service and service not in MIGRATED:
        raise ConfigError(f"{service} has no database")
    if database and not service:
        raise ConfigError("--database needs to know whose it is: sekisho migrate SERVICE --database URL")
    services = [service.value] if service else list(MIGRATED)
    if not database:
        Home.at(home).config(services[0])  # refuses a home that is none before anything is changed
    ran = {name: migrate_database(name, database or Home.at(home).database(name)) for name in services}
    if as_json:
        print_json(ran)
        return
    for name, revisions in ran.items():
        console.print(f"{name}: " + (f"ran {', '.join(revisions)}" if revisions else "nothing to do"))
