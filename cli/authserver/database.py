"""What the commands have in common that work beside the auth server's database."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from authserver.config import AuthServerConfig
from cli.home import Home
from mesh.config import ConfigError, load
from mesh.errors import Mendable
from mesh.storage.database import Database
from mesh.storage.schema import require_current

ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", help="The auth server's configuration. Default: the one in --home.")
]


class NotThere(Mendable):
    """There is no such thing as the command is to work on."""


def settings_of(config: Path | None, home: Path) -> AuthServerConfig:
    """Return the auth server's configuration.

    Raises:
        ConfigError: If it can't be read.

    """
    return load(config or Home.at(home).config("authserver"), AuthServerConfig)


@contextmanager
def opened(settings: AuthServerConfig) -> Iterator[Database]:
    """Open the auth server's database as long as the context lasts.

    Raises:
        ConfigError: If it is not there, or has another schema.

    """
    database = Database(settings.database)
    url = database.engine.url
    try:
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():  # SQLite would make one
            raise ConfigError(f"{url.database} is not there; to make it, run: sekisho migrate")
        database.read_here(lambda connection: require_current(connection, "authserver"))
        yield database
    finally:
        database.close()


def operator() -> str:
    """Return how the audit log names the person at the command line: as the system does, not the environment."""
    try:
        return f"operator:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # nobody gave this user a name
        return f"operator:uid-{os.getuid()}"


def shown_time(milliseconds: int | None) -> str | None:
    """Return a time as people and programs read it (RFC 3339, UTC); None stays None."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
