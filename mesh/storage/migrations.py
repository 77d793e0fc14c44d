"""Brings a service's database to the schema that its code is written for (Alembic)."""

from importlib import resources
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError

from mesh.config import ConfigError
from mesh.storage.schema import pending_migrations

_INSUFFICIENT_PRIVILEGE = "42501"
# Of PostgreSQL's advisory locks, which have numbers alone: the first bytes of "sekisho".
_LOCK = int.from_bytes(b"sekisho")


def upgrade(connection: Connection, service: str) -> list[str]:
    """Run the migrations that the database lacks, in the connection's transaction; return their names.

    Whoever comes second waits until the first is done. SQLite's transactions have the write lock from the beginning.

    Raises:
        ConfigError: If the database has a schema newer than this code, keeps text otherwise than in UTF-8, or does not
            let its user create tables.

    """
    if connection.dialect.name == "postgresql":
        _prepare_postgresql(connection)
    try:
        return _upgrade(connection, service)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        said = str(error.orig).splitlines()[0]
        raise ConfigError(f"{said}: migrate as the owner, or let this role create tables (GRANT CREATE)") from error


def _prepare_postgresql(connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise ConfigError(f"the database keeps text in {encoding}: create one with ENCODING 'UTF8' TEMPLATE template0")
    # A migration takes what time it takes, and so does the wait for another one.
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _upgrade(connection: Connection, service: str) -> list[str]:
    pending = pending_migrations(connection, service)
    if not pending:
        return []
    with resources.as_file(resources.files(service).joinpath("migrations")) as folder:
        scripts = ScriptDirectory(Path(folder), version_locations=[str(folder)])
        environment = EnvironmentContext(
            Config(),
            scripts,
            fn=lambda revision, _: scripts._upgrade_revs("head", revision),  # noqa: SLF001 - what Alembic's own `upgrade` command does
        )
        with environment:
            environment.configure(connection=connection, transactional_ddl=True)
            environment.run_migrations()
    return pending
