"""Records statements as a driver gets them, whether SQLAlchemy sends them or not."""

import sqlite3
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Engine, event


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as the driver gets it.

    Attributes:
        sql: Its text.
        parameters: Its parameters; a list of them if it is for `executemany`.
        many: Whether it is.

    """

    sql: str
    parameters: Any
    many: bool


def record_statements(engine: Engine, statements: list[Statement]) -> None:
    """Add all that connections opened from now on execute to a list."""

    class SQLiteCursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = ()) -> "SQLiteCursor":  # noqa: ANN401 - of any kind
            statements.append(Statement(sql, parameters, many=False))
            super().execute(sql, parameters)
            return self

        def executemany(self, sql: str, parameters: Any) -> "SQLiteCursor":  # noqa: ANN401 - of any kind
            statements.append(Statement(sql, parameters, many=True))
            super().executemany(sql, parameters)
            return self

    class SQLiteConnection(sqlite3.Connection):
        def cursor(self, factory: Any = SQLiteCursor) -> Any:  # noqa: ANN401 - as its parent's
            return super().cursor(factory)

    class PostgreSQLCursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> "PostgreSQLCursor":  # noqa: ANN401 - of any kind
            statements.append(Statement(query, params, many=False))
            return super().execute(query, params, **options)

        def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:  # noqa: ANN401 - of any kind
            statements.append(Statement(query, params_seq, many=True))
            super().executemany(query, params_seq, **options)

    def connect(_dialect: object, _record: object, _arguments: object, keywords: dict[str, Any]) -> None:
        if engine.name == "sqlite":
            keywords["factory"] = SQLiteConnection
        else:
            keywords["cursor_factory"] = PostgreSQLCursor

    event.listen(engine, "do_connect", connect)
