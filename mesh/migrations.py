"""Brings a service's database to the schema that its code is written for (Alembic)."""

from importlib import resources
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection

from mesh.config import ConfigError


def upgrade(connection: Connection, service: str) -> list[str]:
    """Run the migrations that the database lacks, in the connection's transaction; return their names.

    Raises:
        ConfigError: If the database has a schema newer than this code.

    """
    config, scripts = Config(), _scripts(service)
    pending = [script.revision for script in reversed(_pending(connection, scripts))]
    environment = EnvironmentContext(config, scripts, fn=lambda revision, _: scripts._upgrade_revs("head", revision))  # noqa: SLF001 - what Alembic's own `upgrade` command does
    with environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
    return pending


def require_current(connection: Connection, service: str) -> None:
    """Refuse to work on any schema but the one that this code is written for.

    Raises:
        ConfigError: If the database is older or newer.

    """
    if pending := _pending(connection, _scripts(service)):
        raise ConfigError(f"the {service} database lacks {len(pending)} migration(s); run: sekisho migrate")


def _scripts(service: str) -> ScriptDirectory:
    with resources.as_file(resources.files(service).joinpath("migrations")) as folder:
        return ScriptDirectory(Path(folder), version_locations=[str(folder)])


def _pending(connection: Connection, scripts: ScriptDirectory) -> list[Script]:
    current = MigrationContext.configure(connection).get_current_revision()
    try:
        return list(scripts.iterate_revisions("heads", current or "base"))
    except (CommandError, RevisionError) as error:
        raise ConfigError(f"the database has the schema {current}, which this version does not know") from error
