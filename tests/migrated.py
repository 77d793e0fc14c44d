"""The tables of a service, made fast: what its migrations do to an empty database is the same each time."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from mesh.storage.database import Database
from mesh.storage.migrations import upgrade

_READS = ("SELECT", "PRAGMA", "BEGIN", "SAVEPOINT", "RELEASE")
_done: dict[tuple[str, str], list[tuple[str, Any]]] = {}


def migrate_empty(url: str, service: str) -> None:
    """Give an empty database a service's tables, by the migrations themselves; then nobody is connected to it."""
    database = Database(url)
    try:
        database.run_here(lambda connection: upgrade(connection, service))
    finally:
        database.close()


def migrated_sqlite(file: Path, service: str) -> str:
    """Make an SQLite database that has a service's tables: a copy of the first one; return its URL."""
    file.write_bytes(_migrated_file(service))
    return f"sqlite:///{file}"


@cache
def _migrated_file(service: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "database.db"
        migrate_empty(f"sqlite:///{file}", service)
        return file.read_bytes()


def migrate(database: Database, service: str) -> None:
    """Give an empty database a service's tables: by the migrations the first time, then by what they did.

    Most of the time of a migration is Alembic's own.
    """
    kind = (service, database.engine.dialect.name)
    if kind in _done:
        database.run_here(lambda connection: _do_again(connection, _done[kind]))
        return
    statements: list[tuple[str, Any]] = []

    def write_down(connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if connection.engine is database.engine and not statement.lstrip().startswith(_READS):
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", write_down)
    try:
        database.run_here(lambda connection: upgrade(connection, service))
    finally:
        event.remove(Engine, "before_cursor_execute", write_down)
    _done[kind] = statements


def _do_again(connection: Connection, statements: list[tuple[str, Any]]) -> None:
    for statement, parameters in statements:
        connection.exec_driver_sql(statement, parameters)
