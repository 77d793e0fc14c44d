"""Bare drivers that replay recorded units of work, with the transactions that Sekisho gives them."""

import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import psycopg

from bench.captured_payments import CONCURRENCY
from bench.recording import Statement

Unit: TypeAlias = Sequence[Statement]

_CONNECTIONS = 4


class BareSQLite:
    """One connection and one thread; units share commits, each in a savepoint.

    Args:
        url: The database, as SQLAlchemy names it.

    """

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(
            url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")

    def replay(self, units: Sequence[Unit]) -> None:
        """Do units of work."""
        cursor = self._connection.cursor()
        for start in range(0, len(units), CONCURRENCY):
            cursor.execute("BEGIN IMMEDIATE")
            for unit in units[start : start + CONCURRENCY]:
                cursor.execute("SAVEPOINT unit")
                _execute(cursor, unit)
                cursor.execute("RELEASE unit")
            cursor.execute("COMMIT")

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class BarePostgreSQL:
    """A few connections, each with a thread of its own; each unit has its transaction.

    Args:
        url: The database.

    """

    def __init__(self, url: str) -> None:
        self._connections = [psycopg.connect(url) for _ in range(_CONNECTIONS)]
        self._threads = ThreadPoolExecutor(_CONNECTIONS)

    def replay(self, units: Sequence[Unit]) -> None:
        """Do units of work."""
        queued, lock = iter(units), threading.Lock()

        def work(connection: psycopg.Connection[Any]) -> None:
            cursor = connection.cursor()
            while True:
                with lock:
                    unit = next(queued, None)
                if unit is None:
                    return
                _execute(cursor, unit)
                connection.commit()

        list(self._threads.map(work, self._connections))

    def close(self) -> None:
        """Disconnect."""
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()


def _execute(cursor: Any, unit: Unit) -> None:  # noqa: ANN401 - of either driver
    for statement in unit:
        if statement.many:
            cursor.executemany(statement.sql, statement.parameters)
        else:
            cursor.execute(statement.sql, statement.parameters)
            if cursor.description:
                cursor.fetchall()
