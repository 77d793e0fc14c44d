"""Tells, as often as one likes and for next to nothing, whether a database may have changed."""

import asyncio
import sqlite3
from typing import Any, Protocol

import structlog
from sqlalchemy import Select
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.url import URL

_log = structlog.get_logger()
# Longer than a look takes where all is well; a connection that died without a word is noticed by it.
_PATIENCE_SECONDS = 1.0


class ChangeDetector(Protocol):
    """Looks at a database by a connection of its own, in the event loop: a thread's turn would cost more than the look.

    It only saves work. Whoever needs to know what has changed reads that otherwise.
    """

    async def state(self) -> object | None:
        """Return what differs if anything that matters has changed; None if that can't be told now."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class SqliteChanges:
    """Detects changes of any kind, by other connections, of this process or of others.

    Args:
        file: The database.

    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None

    async def state(self) -> object | None:
        """See `ChangeDetector`. It waits for no lock."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, timeout=0, isolation_level=None)
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            self.close()
            return None
        return int(version)

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresqlChanges:
    """Detects changes of one row.

    Args:
        url: The database.
        dialect: Knows how to connect there.
        row: Reads the row; it has no parameters.

    """

    def __init__(self, url: URL, dialect: Dialect, row: Select[Any], settings: dict[str, Any]) -> None:
        # A server that became a standby tells what was: it is not asked again.
        self._statement = f"SELECT pg_is_in_recovery(), found.* FROM ({row.compile(dialect=dialect)}) AS found"  # noqa: S608 - no values
        arguments, parameters = dialect.create_connect_args(url)
        self._arguments, self._parameters = arguments, {**parameters, **settings}
        self._connection: Any = None

    async def state(self) -> object | None:
        """See `ChangeDetector`."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await self._look()
        except Exception as error:  # noqa: BLE001 - whatever it is, the work that this saves is done
            _log.info("changes of the database are looked for otherwise", cause=str(error))
            self.close()
            return None

    async def _look(self) -> object | None:
        if self._connection is None:
            from psycopg import AsyncConnection  # noqa: PLC0415 - a process on SQLite does not load it

            self._connection = await AsyncConnection.connect(*self._arguments, **self._parameters)
            # Behind whoever shares the server's connections, nothing that is prepared would be found again.
            (process,) = await (await self._connection.execute("SELECT pg_backend_pid()")).fetchone()
            self._connection.prepare_threshold = 0 if process == self._connection.info.backend_pid else None
        is_standby, *row = await (await self._connection.execute(self._statement)).fetchone()
        if is_standby:
            self.close()
            return None
        return tuple(row)

    def close(self) -> None:
        """Disconnect, also where no event loop runs any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()
