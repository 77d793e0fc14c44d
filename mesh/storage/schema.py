"""Whether a database has the schema that the code is written for. Alembic is not needed to tell, only to change it."""

from importlib import resources

from sqlalchemy import Connection, inspect, text

from mesh.config import ConfigError

# Where Alembic keeps the name of the last migration that ran.
_TABLE = "alembic_version"


def require_current(connection: Connection, service: str) -> None:
    """Refuse to work on any schema but the one that this code is written for.

    Raises:
        ConfigError: If the database is older or newer.

    """
    if pending := pending_migrations(connection, service):
        raise ConfigError(f"the {service} database lacks {len(pending)} migration(s); run: sekisho migrate")


def pending_migrations(connection: Connection, service: str) -> list[str]:
    """Return the migrations that a database lacks, by their names, in their order.

    Raises:
        ConfigError: If the database has a schema newer than this code.

    """
    names = _migrations(service)
    current = _current(connection)
    if current is None:
        return names
    if current not in names:
        raise ConfigError(f"the database has the schema {current}, which this version does not know")
    return names[names.index(current) + 1 :]


def _migrations(service: str) -> list[str]:
    """Return the names of all migrations, which the names of their files begin with: 0001_initial.py is 0001."""
    files = (file.name for file in resources.files(service).joinpath("migrations").iterdir())
    return sorted(name.partition("_")[0] for name in files if name.endswith(".py"))


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {_TABLE}"))  # noqa: S608 - a constant
    return found
