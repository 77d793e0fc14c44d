"""Units of work on a service's database."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from mesh.config import ConfigError
from mesh.errors import Code, ServiceError

T = TypeVar("T")

_log = structlog.get_logger()
_READERS = 4
_LOCK_WAIT_SECONDS = 5
_READ_ONLY = "sekisho_read_only"


class DatabaseUnavailable(ServiceError):
    """The database did not do its part; the same call may succeed later."""

    code = Code.UNAVAILABLE


class Database:
    """Runs synchronous units of work, each in one transaction, on threads of its own.

    On SQLite one thread does all the writing, so no unit waits for another's lock; readers see the last commit.

    Args:
        url: A SQLAlchemy URL, such as `sqlite:////var/lib/sekisho/payments.db`.

    Raises:
        ConfigError: If the URL is not one that Sekisho supports.

    """

    def __init__(self, url: str) -> None:
        """Prepare engine and threads. Connects on first use."""
        try:
            backend = make_url(url).get_backend_name()
        except ArgumentError as error:
            raise ConfigError(f"the database URL can't be read: {error}") from error
        if backend != "sqlite":
            raise ConfigError(f"the database must be sqlite, not {backend}")
        self.engine = create_engine(url, pool_size=_READERS + 1, connect_args={"timeout": _LOCK_WAIT_SECONDS})
        event.listen(self.engine, "connect", _on_connect)
        event.listen(self.engine, "begin", _on_begin)
        self._reading_engine = self.engine.execution_options(**{_READ_ONLY: True})
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-reader")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a unit of work in a transaction: commit when it returns, roll back when it raises.

        Raises:
            DatabaseUnavailable: If the database can't be reached, or is locked by another process.

        """
        return await asyncio.get_running_loop().run_in_executor(self._writer, self.run_here, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a unit of work that only reads, beside the writer; it sees one state of the database throughout.

        Raises:
            DatabaseUnavailable: If the database can't be reached.

        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_here, work)

    def run_here(self, work: Callable[[Connection], T]) -> T:
        """Do what `run` does, in the calling thread."""
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except OperationalError as error:
            raise _unavailable(error) from error

    def read_here(self, work: Callable[[Connection], T]) -> T:
        """Do what `read` does, in the calling thread."""
        try:
            with self._reading_engine.begin() as connection:
                return work(connection)
        except OperationalError as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Let units under way end, and disconnect."""
        self._writer.shutdown()
        self._readers.shutdown()
        self.engine.dispose()


def _unavailable(error: OperationalError) -> DatabaseUnavailable:
    _log.error("database", error=str(error.orig))
    return DatabaseUnavailable("the database is not available")


def _on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
    connection.isolation_level = None  # transactions begin where _on_begin says so, not where the driver guesses
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    # IMMEDIATE takes the write lock now, while waiting for it is still possible.
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
