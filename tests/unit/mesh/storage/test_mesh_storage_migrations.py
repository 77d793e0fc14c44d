import contextlib
import sys
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from mesh.config import ConfigError
from mesh.storage.database import Database, DatabaseUnavailable
from mesh.storage.migrations import upgrade
from mesh.storage.schema import require_current

SERVICE = "service_with_migrations"
MIGRATION = """
from alembic import op
revision = {revision!r}
down_revision = {down_revision!r}

def upgrade():
    op.execute({statement!r})
"""


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a service with two migrations; the second needs what the first made."""
    folder = tmp_path / SERVICE / "migrations"
    folder.mkdir(parents=True)
    (tmp_path / SERVICE / "__init__.py").touch()
    write(folder, "0001", None, "CREATE TABLE first (id INTEGER)")
    write(folder, "0002", "0001", "ALTER TABLE first ADD COLUMN name TEXT")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop(SERVICE, None)


def write(folder: Path, revision: str, down_revision: str | None, statement: str) -> None:
    content = MIGRATION.format(revision=revision, down_revision=down_revision, statement=statement)
    (folder / f"{revision}_change.py").write_text(content)


def run(connection: Connection) -> list[str]:
    return upgrade(connection, SERVICE)


def require(connection: Connection) -> None:
    require_current(connection, SERVICE)


def tables(database: Database) -> set[str]:
    statement = text("SELECT name FROM sqlite_master WHERE type = 'table'")
    return set(database.read_here(lambda connection: connection.execute(statement).scalars().all()))


@pytest.mark.usefixtures("migrations")
def test_an_empty_database_gets_all_migrations_in_order_and_is_current_then(database: Database) -> None:
    assert database.run_here(run) == ["0001", "0002"]
    database.read_here(require)
    database.run_here(lambda connection: connection.execute(text("INSERT INTO first (id, name) VALUES (1, 'a')")))


@pytest.mark.usefixtures("migrations")
def test_upgrading_twice_does_nothing_the_second_time(database: Database) -> None:
    database.run_here(run)
    assert database.run_here(run) == []
    database.read_here(require)


@pytest.mark.usefixtures("migrations")
def test_an_empty_database_is_refused_with_the_remedy(database: Database) -> None:
    with pytest.raises(ConfigError, match=r"lacks 2 migration\(s\); run: sekisho migrate"):
        database.read_here(require)


def test_an_older_database_gets_only_what_it_lacks(database: Database, migrations: Path) -> None:
    (migrations / "0002_change.py").rename(migrations / "later")
    assert database.run_here(run) == ["0001"]
    (migrations / "later").rename(migrations / "0002_change.py")
    with pytest.raises(ConfigError, match="lacks 1"):
        database.read_here(require)
    assert database.run_here(run) == ["0002"]


def test_a_migration_that_fails_leaves_the_database_as_it_was(database: Database, migrations: Path) -> None:
    write(migrations, "0002", "0001", "ALTER TABLE nowhere ADD COLUMN name TEXT")
    with pytest.raises(DatabaseUnavailable):
        database.run_here(run)
    assert tables(database) == set()


@pytest.mark.parametrize("made", [False, True], ids=["empty", "older"])
def test_of_those_who_migrate_at_once_one_does_it(tmp_path: Path, migrations: Path, made: bool) -> None:  # noqa: FBT001
    url, ran, together = f"sqlite:///{tmp_path / 'at once.db'}", list[list[str]](), threading.Barrier(4, timeout=60)
    if made:
        later = (migrations / "0002_change.py").rename(migrations / "later")
        migrate(url)
        later.rename(migrations / "0002_change.py")

    def migrate_at_once() -> None:
        together.wait()
        ran.append(migrate(url))

    threads = [threading.Thread(target=migrate_at_once) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == [[], [], [], ["0002"] if made else ["0001", "0002"]]


def migrate(url: str) -> list[str]:
    with contextlib.closing(Database(url)) as database:
        return database.run_here(run)


def set_revision(database: Database, revision: str) -> None:
    statement = text("UPDATE alembic_version SET version_num = :revision")
    database.run_here(lambda connection: connection.execute(statement, {"revision": revision}))


@pytest.mark.usefixtures("migrations")
def test_a_newer_database_is_refused(database: Database) -> None:
    database.run_here(run)
    set_revision(database, "9999")
    with pytest.raises(ConfigError):
        database.read_here(require)


@pytest.mark.usefixtures("migrations")
def test_a_newer_database_is_not_upgraded(database: Database) -> None:
    database.run_here(run)
    set_revision(database, "9999")
    with pytest.raises(ConfigError):
        database.run_here(run)


@pytest.mark.parametrize("service", ["authserver", "payments", "shops"])
def test_each_service_has_migrations_that_run(database: Database, service: str) -> None:
    ran = database.run_here(lambda connection: upgrade(connection, service))
    folder = str(resources.files(service) / "migrations")
    known_to_alembic = ScriptDirectory(folder, version_locations=[folder]).walk_revisions()
    assert ran[::-1] == [script.revision for script in known_to_alembic]
    database.read_here(lambda connection: require_current(connection, service))
