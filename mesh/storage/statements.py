"""Statements that go straight to the driver, for the paths that are walked most.

Between a small statement and its driver SQLAlchemy takes ten times what the driver takes.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, Select, String
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

_Parameters: TypeAlias = Mapping[str, object]

# What the drivers of both databases take and give just as it is.
_PLAIN = frozenset({BigInteger, Integer, LargeBinary, String})


class DriverStatement:
    """A statement that is written in SQLAlchemy, compiled once for each kind of database, and run by the driver.

    It runs in the connection's transaction, and fails as it would through SQLAlchemy, whose events it passes by. An
    engine that it is to run on takes parameters by name.

    Args:
        statement: Every value in it is a parameter with a name, and no parameter is a list. Columns and parameters are
            text, bytes or whole numbers.

    """

    def __init__(self, statement: Select[*tuple[Any, ...]] | UpdateBase) -> None:
        """Compile nothing yet: only a connection knows for which database."""
        self._statement = statement
        self._texts: dict[str, str] = {}
        names = [column.name for column in statement.exported_columns]
        row: Any = namedtuple("Row", names) if names else None  # noqa: PYI024 - its fields are known only now
        self._row: Callable[..., Any] | None = row and row._make

    def execute(self, connection: Connection, parameters: _Parameters) -> list[Any]:
        """Execute it; return its rows, whose fields have the names of the columns.

        Raises:
            DBAPIError: If the database refuses.
            TypeError: If the statement is not what this class takes.

        """
        text = self._text(connection.dialect)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text, parameters)
            return [] if self._row is None else list(map(self._row, cursor.fetchall()))
        except connection.dialect.loaded_dbapi.Error as error:
            raise _wrapped(connection, text, parameters, error) from error

    def first(self, connection: Connection, parameters: _Parameters) -> Any:  # noqa: ANN401 - as SQLAlchemy's rows
        """Execute it; return its first row, None if there is none. Raises what `execute` raises."""
        rows = self.execute(connection, parameters)
        return rows[0] if rows else None

    def execute_many(self, connection: Connection, rows: Sequence[_Parameters]) -> None:
        """Execute it for each row of parameters. Raises what `execute` raises."""
        text = self._text(connection.dialect)
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(text, rows)
        except connection.dialect.loaded_dbapi.Error as error:
            raise _wrapped(connection, text, rows, error) from error

    def _text(self, dialect: Dialect) -> str:
        text = self._texts.get(dialect.name)
        if text is None:
            text = self._texts[dialect.name] = self._compile(dialect)
        return text

    def _compile(self, dialect: Dialect) -> str:
        compiled = self._statement.compile(dialect=dialect)
        for parameter in compiled.binds.values():
            if parameter.expanding or not parameter.required:
                raise TypeError(f"{parameter.key} is a list, or a value and no parameter, in: {compiled}")
        types = [each.type for each in (*compiled.binds.values(), *self._statement.exported_columns)]
        if foreign := [each for each in types if type(each) not in _PLAIN]:
            raise TypeError(f"{foreign} would need to be converted, in: {compiled}")
        return str(compiled)


def _wrapped(
    connection: Connection, text: str, parameters: _Parameters | Sequence[_Parameters], error: Exception
) -> BaseException:
    """Return what SQLAlchemy raises for an error of the driver. A lost connection it meets again in the rollback."""
    base = connection.dialect.loaded_dbapi.Error
    return DBAPIError.instance(text, parameters, error, base, hide_parameters=True, dialect=connection.dialect)
