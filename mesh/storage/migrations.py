"""Brings a service's database to the schema that its code is written for (Alembic)."""

from importlib import resources
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from mesh.config import ConfigError
from mesh.storage.schema import pending_migrations

# Of PostgreSQL's advisory locks, which have numbers alone: the first bytes of "sekisho".
_LOCK = int.from_bytes(b"sekisho")


def upgrade(connection: Connection, service: str) -> list[str]:
    """Run the migrations that the database lacks, in the connection's transaction; return their names.

    Whoever comes second waits until the first is done. SQLite's transactions have the write lock from the beginning.

    Raises:
        ConfigError: If the database has a schema newer than this code, or keeps text otherwise than in UTF-8.

    """
    if connection.dialect.name == "postgresql":
        _require_utf8(connection)
        _wait_for_others(connection)
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


def _require_utf8(connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise ConfigError(f"the database keeps text in {encoding}: create one with ENCODING 'UTF8' TEMPLATE template0")


def _wait_for_others(connection: Connection) -> None:
    lock_timeout = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
    # A migration takes what time it takes, and so does the wait for another one.
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    # The wait for a table does not: as long as it lasts, all calls that need the table wait behind it.
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{lock_timeout}'")
