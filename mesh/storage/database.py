"""Units of work on a service's database, SQLite or PostgreSQL."""

import asyncio
import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias, TypeVar

import structlog
from sqlalchemy import Connection, Engine, Select, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from mesh.config import ConfigError
from mesh.errors import Code, DatabaseUnavailable, ServiceError
from mesh.storage.change_detector import ChangeDetector, PostgresqlChanges, SqliteChanges
from mesh.storage.shared_commits import SharedCommits

T = TypeVar("T")
# Entered as long as a unit of work waits and runs; gets the kind of the database, and the unit.
Around: TypeAlias = Callable[[str, Callable[..., Any]], AbstractContextManager[None]]

_log = structlog.get_logger()

_NOTHING = nullcontext()
_READERS = 4
_WRITERS = 4  # on PostgreSQL; more of them only wait for each other's locks
_WAIT_SECONDS = 5  # for a connection, and for a lock
_ATTEMPTS = 5
# When a host that does not even acknowledge is given up: by itself TCP takes a quarter of an hour (RFC 1122 §4.2.3.5).
_DEAD_HOST = {"tcp_user_timeout": 10_000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
# How to connect to PostgreSQL, where the URL does not say otherwise.
_CONNECTION = {
    "connect_timeout": _WAIT_SECONDS,
    "client_encoding": "utf8",  # text is text also where the server does not know its encoding
    **_DEAD_HOST,
}
_SEVERAL_HOSTS = re.compile(r"(?P<before>postgresql[^/]*://(?:[^@/]*@)?)(?P<hosts>[^/?]*,[^/?]*)(?P<after>.*)")
_HOST = re.compile(r"(?P<name>\[.*?\]|[^:]*)(?::(?P<port>.*))?")  # an IPv6 address is in brackets
_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
# How long a transaction may wait for a lock, a statement may take, and a transaction may do nothing. As parameters of
# the connection, PgBouncer would refuse them.
_BOUNDS = {
    "lock_timeout": f"{_WAIT_SECONDS}s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}
_READS = "sekisho_reads"  # the execution option of transactions that only read
_BOUNDING = "sekisho_bounding"  # the statement that bounds each transaction on a connection, if that can't be done once

# What PostgreSQL's errors mean (its manual, appendix A), where the driver's class does not say it.
# A concurrent transaction caused it, and the next attempt may not meet it: a serialization failure, a deadlock, a row
# that the other one was first to insert.
_PASSING_STATES = frozenset({"40001", "40P01", "23505"})
# The server is not, or no more, the one that writes. A new connection may find that.
_READ_ONLY_STATE = "25006"
# The operator can mend it, and how.
_REMEDIES = {
    "42501": "`sekisho migrate` needs the owner of the tables, with CREATE on their schema; a service needs SELECT,"
    " INSERT, UPDATE and DELETE on all tables, and USAGE on all sequences",
    "3F000": "create the schema that the search_path names",
}


class UnstorableText(ServiceError):
    """A text of the request has a NUL character, which PostgreSQL keeps in no column and finds in none."""

    code = Code.INVALID_ARGUMENT


class Database:
    """Runs synchronous units of work, each in a transaction, on threads of its own.

    A unit may run more than once before it takes effect, so it must do nothing but work on the database.

    On SQLite one thread does all the writing, so no unit waits for another's lock, and units that queue up share a
    commit. On PostgreSQL a unit that a concurrent one got in the way of is run again.

    Args:
        url: A SQLAlchemy URL, such as `sqlite:////var/lib/sekisho/payments.db` or `postgresql://host/payments`. For
            SQLite, `?timeout=1` is how many seconds another process's lock is waited for; 5, unless told.
        around: What happens around each unit that a coroutine waits for, such as a span.

    Raises:
        ConfigError: If the URL is not one that Sekisho supports.

    """

    def __init__(self, url: str, around: Around | None = None) -> None:
        """Prepare engine and threads. Connects on first use."""
        self._around = around or _nothing
        parsed = _parse(url)
        self._detectors: list[ChangeDetector] = []
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-reader")
        self._submit: Callable[[Callable[[Connection], Any]], asyncio.Future[Any]]
        if parsed.get_backend_name() == "sqlite":
            self.engine = _sqlite_engine(parsed, pool_size=1, begin="BEGIN IMMEDIATE")
            self._reading_engine = _sqlite_engine(parsed, pool_size=_READERS, begin="BEGIN", query_only=True)
            commits = SharedCommits(self.engine)
            self._submit, self._stop_writing = commits.submit, commits.close
        else:
            self.engine = _postgresql_engine(parsed)
            self._reading_engine = self.engine.execution_options(**{_READS: True})
            writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="database-writer")
            self._submit = lambda work: asyncio.get_running_loop().run_in_executor(writers, self._attempt, work)
            self._stop_writing = writers.shutdown

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a unit of work in a transaction: commit when it returns, roll back when it raises.

        Raises:
            DatabaseUnavailable: If the database can't be reached, is read-only, or another process holds its lock.
            ConfigError: If the database refuses what the operator must permit, such as to use a table.

        """
        try:
            with self._around(self.engine.name, work):
                result: T = await self._submit(work)
        except DBAPIError as error:
            raise self._translated(error) from error
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a unit of work that only reads, beside the writers; it sees one state of the database throughout.

        Raises:
            DatabaseUnavailable: If the database can't be reached.

        """
        with self._around(self.engine.name, work):
            return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_here, work)

    def run_here(self, work: Callable[[Connection], T]) -> T:
        """Do what `run` does, in the calling thread."""
        try:
            return self._attempt(work)
        except DBAPIError as error:
            raise self._translated(error) from error

    def read_here(self, work: Callable[[Connection], T]) -> T:
        """Do what `read` does, in the calling thread."""
        try:
            with self._reading_engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            raise self._translated(error) from error

    def change_detector(self, row: Select[Any]) -> ChangeDetector:
        """Return what detects changes, of a row or on SQLite of anything, until this is closed.

        Args:
            row: Reads the row; it has no parameters.

        """
        url = self.engine.url
        if url.get_backend_name() == "sqlite":
            detector: ChangeDetector = SqliteChanges(url.database or "")
        else:
            detector = PostgresqlChanges(url, self.engine.dialect, row, {**_defaults(url), "autocommit": True})
        self._detectors.append(detector)
        return detector

    def close(self) -> None:
        """Let units under way end, and disconnect."""
        for detector in self._detectors:
            detector.close()
        self._stop_writing()
        self._readers.shutdown()
        self._reading_engine.dispose()
        self.engine.dispose()

    def _attempt(self, work: Callable[[Connection], T]) -> T:
        """Run a unit of work, again if a concurrent one got in its way."""
        for _ in range(_ATTEMPTS - 1):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if _state(error) not in _PASSING_STATES:
                    raise
        with self.engine.begin() as connection:
            return work(connection)

    def _translated(self, error: DBAPIError) -> Exception:
        """Return what the caller is to see: a database that is not there is no fault of the code; most else is."""
        state = _state(error)
        if isinstance(error, DataError) and state is None:  # never reached the server
            return UnstorableText("a text has a NUL character")
        if remedy := _REMEDIES.get(state or ""):
            return ConfigError(f"{str(error.orig).splitlines()[0]}: {remedy}")
        if state == _READ_ONLY_STATE:
            # All connections, for those that only read would not find out that another server writes now.
            self.engine.dispose()
        # DatabaseError itself, not its subclasses, is what SQLite calls a file that is no database.
        unavailable = isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError
        if unavailable or error.connection_invalidated or state == _READ_ONLY_STATE:
            _log.error("database", error=str(error.orig))
            return DatabaseUnavailable("the database is not available")
        return error


def _nothing(_system: str, _work: Callable[..., Any]) -> AbstractContextManager[None]:
    return _NOTHING


def _state(error: DBAPIError) -> str | None:
    """Return the SQLSTATE that PostgreSQL gave; None for SQLite, and where there was no answer."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def _parse(url: str) -> URL:
    try:
        parsed = make_url(_one_host(url))
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError) as error:  # the latter for a port that is no number
        raise ConfigError(f"the database URL can't be read: {error}") from error
    if backend not in _DRIVERS or parsed.drivername not in {backend, _DRIVERS[backend]}:
        raise ConfigError(f"the database must be {' or '.join(_DRIVERS)}, not {parsed.drivername}")
    (_check_sqlite if backend == "sqlite" else _check_postgresql)(parsed)
    return parsed.set(drivername=_DRIVERS[backend])


def _one_host(url: str) -> str:
    """Return a URL with several hosts, as PostgreSQL's own tools take them, in the way that SQLAlchemy takes them."""
    found = _SEVERAL_HOSTS.fullmatch(url)
    if found is None:
        return url
    each = [match for match in map(_HOST.fullmatch, found["hosts"].split(",")) if match]
    names = ",".join(match["name"].strip("[]") for match in each)
    ports = ",".join(match["port"] or "" for match in each)
    return f"{found['before']}{found['after']}{'&' if '?' in found['after'] else '?'}host={names}&port={ports}"


def _check_sqlite(url: URL) -> None:
    if url.host or url.database in {None, "", ":memory:"}:
        raise ConfigError("a SQLite database needs the path of its file, as in sqlite:////var/lib/sekisho/payments.db")
    _check_parameters(url, {"timeout"})
    try:
        float(str(url.query.get("timeout", _WAIT_SECONDS)))
    except ValueError as error:
        raise ConfigError("the database URL's timeout must be a number of seconds") from error


def _check_postgresql(url: URL) -> None:
    from psycopg.pq import Conninfo  # noqa: PLC0415 - a process on SQLite does not load it

    _check_parameters(url, {option.keyword.decode() for option in Conninfo.get_defaults()})


def _check_parameters(url: URL, known: Collection[str]) -> None:
    if unknown := sorted(url.query.keys() - known):
        raise ConfigError(f"the database URL has unknown parameters: {', '.join(unknown)}")


def _sqlite_engine(url: URL, *, pool_size: int, begin: str, query_only: bool = False) -> Engine:
    """Make an engine whose transactions begin as told; IMMEDIATE takes the write lock while it can be waited for."""
    # Parameters by name, as PostgreSQL's driver takes them: then a statement for both takes the same.
    engine = create_engine(
        url,
        paramstyle="named",
        pool_size=pool_size,
        hide_parameters=True,  # in errors, which are logged whole
        connect_args={} if "timeout" in url.query else {"timeout": _WAIT_SECONDS},
    )

    def on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
        connection.isolation_level = None  # transactions begin where on_begin says so, not where the driver guesses
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"query_only={int(query_only)}"):
            connection.execute(f"PRAGMA {pragma}")

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


def _defaults(url: URL) -> dict[str, Any]:
    """Return how to connect where a URL does not say so itself."""
    return {name: value for name, value in _CONNECTION.items() if name not in url.query}


def _postgresql_engine(url: URL) -> Engine:
    from psycopg import IsolationLevel  # noqa: PLC0415 - a process on SQLite does not load it

    try:
        engine = create_engine(
            url,
            pool_size=_READERS + _WRITERS,
            max_overflow=0,
            pool_timeout=_WAIT_SECONDS,
            hide_parameters=True,  # as above
            connect_args=_defaults(url),
        )
    except (ArgumentError, ValueError) as error:  # hosts and ports that do not fit together
        raise ConfigError(f"the database URL can't be read: {error}") from error

    def on_connect(connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401 - the driver's own type
        connection.isolation_level = IsolationLevel.READ_COMMITTED
        connection.autocommit = True
        # Whoever stands between, such as PgBouncer, gives each transaction any of its own connections: what is set or
        # prepared on one is not there on another. It shows by the process, which only the server itself can name.
        (process,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        if process == connection.info.backend_pid:
            if bounding := _bounding("SET", connection.info.options):
                connection.execute(bounding)
        elif connection.info.options:
            connection.close()
            raise ConfigError(
                "what stands before PostgreSQL, such as PgBouncer, does not hand on ?options=… of the database URL"
                " (or PGOPTIONS): leave it out, and set the same by ALTER ROLE … SET"
            )
        else:
            connection.prepare_threshold = None
            record.info[_BOUNDING] = _bounding("SET LOCAL")
        connection.autocommit = False

    def on_begin(connection: Connection) -> None:
        # The driver itself begins the transaction, with the first statement: BEGIN through SQLAlchemy would take half
        # the time of a small unit. Writers do not ask for READ WRITE: a server grants it that is to be read-only.
        driver: Any = connection.connection.dbapi_connection
        reads = connection.get_execution_options().get(_READS)
        if driver.read_only is not reads:
            driver.read_only = reads
            driver.isolation_level = IsolationLevel.REPEATABLE_READ if reads else IsolationLevel.READ_COMMITTED
        if bounding := connection.info.get(_BOUNDING):
            connection.exec_driver_sql(bounding)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


def _bounding(command: str, options: str = "") -> str:
    """Return the statements that set the bounds, but for those that the options of the connection set already."""
    named = options.replace("-", "_")
    return "; ".join(f"{command} {name} = '{value}'" for name, value in _BOUNDS.items() if name not in named)
