"""Brings a service's database to the schema that its code is written for (Alembic)."""

from importlib import resources
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from mesh.storage.schema import pending_migrations


def upgrade(connection: Connection, service: str) -> list[str]:
    """Run the migrations that the database lacks, in the connection's transaction; return their names.

    Raises:
        ConfigError: If the database has a schema newer than this code.

    """
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
