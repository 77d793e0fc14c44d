"""Looks into a database of either kind, past all code under test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, inspect, make_url, text

from mesh.storage.database import Database


def rows(url: str) -> list[str]:
    """Return all rows of all tables, as text, in a fixed order."""
    return sorted(f"{table} {row}" for table, row in _rows(url))


def contents(url: str) -> bytes:
    """Return every byte that a database keeps: what stands in its rows and, for SQLite, in its files."""
    values = [value for _, row in _rows(url) for value in row]
    kept = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    if make_url(url).get_backend_name() == "sqlite":
        file = Path(str(make_url(url).database))
        kept += [each.read_bytes() for each in file.parent.glob(f"{file.name}*")]
    return b"\n".join(kept)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Collect the statements that a database gets while the context lasts, those that frame transactions aside."""
    sent: list[str] = []

    def collect(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if connection.engine.url == database.engine.url and not statement.startswith(("BEGIN", "SAVEPOINT", "RELEASE")):
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", collect)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", collect)


def schema(connection: Connection, metadata: MetaData) -> dict[str, object]:
    """Return all that the database itself knows of the tables; the order of columns aside, which changes nothing."""
    inspector = inspect(connection)
    found: dict[str, object] = {}
    for table in metadata.tables:
        columns = {
            column["name"]: (str(column["type"]), column["nullable"], column["default"])
            for column in inspector.get_columns(table)
        }
        checks = {check["name"]: check["sqltext"] for check in inspector.get_check_constraints(table)}
        keys = sorted(str(sorted(key.items())) for key in inspector.get_foreign_keys(table))
        indexes = sorted(
            (index["name"] or "", index["column_names"], index["unique"]) for index in inspector.get_indexes(table)
        )
        uniques = sorted(tuple(unique["column_names"]) for unique in inspector.get_unique_constraints(table))
        found[table] = (columns, checks, inspector.get_pk_constraint(table), keys, indexes, uniques)
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, wr FROM pragma_table_list WHERE name <> 'sqlite_schema'"))
        found["without rowid"] = sorted(row.name for row in rows if row.wr)
    return found


def upgrade_to(connection: Connection, service: str, revision: str) -> None:
    """Bring a service's empty database to the schema of an earlier version."""
    with resources.as_file(resources.files(service).joinpath("migrations")) as folder:
        scripts = ScriptDirectory(str(folder), version_locations=[str(folder)])
    steps = scripts._upgrade_revs  # noqa: SLF001 - what Alembic's own `upgrade` command calls
    with EnvironmentContext(Config(), scripts, fn=lambda current, _: steps(revision, current)) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()


def back_up(url: str) -> Callable[[], None]:
    """Remember all rows of all tables; return what puts them back in place of those that are there then."""
    engine, tables = _reflected(url)
    with engine.begin() as connection:
        kept = [(table, connection.execute(table.select()).mappings().all()) for table in tables.sorted_tables]
    engine.dispose()

    def restore() -> None:
        with engine.begin() as connection:
            for table, _ in reversed(kept):
                connection.execute(table.delete())
            for table, rows in kept:
                if rows:
                    connection.execute(table.insert(), [dict(row) for row in rows])
        engine.dispose()

    return restore


def _rows(url: str) -> list[tuple[str, tuple[object, ...]]]:
    engine, tables = _reflected(url)
    with engine.connect() as connection:
        found = [
            (name, tuple(row)) for name, table in tables.tables.items() for row in connection.execute(table.select())
        ]
    engine.dispose()
    return found


def _reflected(url: str) -> tuple[Engine, MetaData]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    tables = MetaData()
    tables.reflect(engine)
    return engine, tables
