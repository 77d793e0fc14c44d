import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

import mesh.storage.database
from mesh.config import ConfigError
from mesh.errors import Code
from mesh.storage.database import Database, DatabaseUnavailable

PATIENCE_SECONDS = 60


@pytest.fixture
def counters(database: Database) -> Database:
    def create(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE counters (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO counters VALUES (1, 0)"))

    database.run_here(create)
    return database


def add_one(connection: Connection) -> int:
    value = count(connection) + 1
    connection.execute(text("UPDATE counters SET value = :value"), {"value": value})
    return value


def count(connection: Connection) -> int:
    value: int = connection.execute(text("SELECT value FROM counters WHERE id = 1")).scalar_one()
    return value


async def test_a_unit_of_work_commits_when_it_returns(counters: Database) -> None:
    assert await counters.run(add_one) == 1
    assert await counters.read(count) == 1


async def test_a_unit_of_work_rolls_back_when_it_raises_and_the_exception_comes_through(counters: Database) -> None:
    def work(connection: Connection) -> None:
        add_one(connection)
        raise KeyError("reason")

    with pytest.raises(KeyError, match="reason"):
        await counters.run(work)
    assert await counters.read(count) == 0


def test_tables_made_in_a_unit_that_raises_are_gone(counters: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE other (id INTEGER)"))
        raise KeyError

    with contextlib.suppress(KeyError):
        counters.run_here(work)
    names = counters.read_here(lambda connection: connection.execute(text("SELECT name FROM sqlite_master")).all())
    assert [name for (name,) in names] == ["counters"]


def test_a_savepoint_rolls_back_alone_and_its_rows_do_not_survive_the_outer_rollback(counters: Database) -> None:
    def partly(connection: Connection) -> None:
        add_one(connection)
        with contextlib.suppress(ZeroDivisionError), connection.begin_nested():
            add_one(connection)
            raise ZeroDivisionError

    def not_at_all(connection: Connection) -> None:
        with connection.begin_nested():
            add_one(connection)
        raise ZeroDivisionError

    counters.run_here(partly)
    assert counters.read_here(count) == 1
    with pytest.raises(ZeroDivisionError):
        counters.run_here(not_at_all)
    assert counters.read_here(count) == 1


async def test_concurrent_writers_lose_no_update(counters: Database) -> None:
    assert await asyncio.gather(*(counters.run(add_one) for _ in range(50))) == list(range(1, 51))
    assert counters.read_here(count) == 50


async def test_a_reader_does_not_wait_for_a_writer_and_sees_the_last_commit(counters: Database) -> None:
    written, read = threading.Event(), threading.Event()

    def write(connection: Connection) -> bool:
        add_one(connection)
        written.set()
        return read.wait(PATIENCE_SECONDS)

    writing = asyncio.create_task(counters.run(write))
    await asyncio.to_thread(written.wait, PATIENCE_SECONDS)
    seen = await counters.read(count)
    read.set()
    assert (seen, await writing) == (0, True)
    assert counters.read_here(count) == 1


async def test_a_reader_sees_one_state_while_writers_go_on(counters: Database) -> None:
    started, written = threading.Event(), threading.Event()

    def read_twice(connection: Connection) -> tuple[int, bool, int]:
        before = count(connection)
        started.set()
        in_time = written.wait(PATIENCE_SECONDS)
        return before, in_time, count(connection)

    reading = asyncio.create_task(counters.read(read_twice))
    await asyncio.to_thread(started.wait, PATIENCE_SECONDS)
    await counters.run(add_one)
    written.set()
    assert await reading == (0, True, 0)
    assert counters.read_here(count) == 1


def test_a_unit_that_only_reads_cannot_write(counters: Database) -> None:
    with contextlib.suppress(Exception):
        counters.read_here(add_one)
    assert counters.read_here(count) == 0


def test_commits_are_durable_and_references_enforced(counters: Database) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    full = 2
    assert counters.run_here(pragmas) == ["wal", full, 1]

    def dangle(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE child (parent INTEGER REFERENCES counters (id))"))
        connection.execute(text("INSERT INTO child VALUES (99)"))

    with pytest.raises(IntegrityError):
        counters.run_here(dangle)


def test_a_database_locked_by_another_process_is_unavailable_and_works_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh.storage.database, "_WAIT_SECONDS", 0)
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    with contextlib.closing(database), contextlib.closing(sqlite3.connect(tmp_path / "test.db")) as other:
        database.run_here(lambda connection: connection.execute(text("CREATE TABLE t (id INTEGER)")))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable) as caught:
            database.run_here(lambda connection: connection.execute(text("INSERT INTO t VALUES (1)")))
        assert caught.value.code is Code.UNAVAILABLE
        assert "locked" not in caught.value.message
        assert database.read_here(lambda connection: connection.execute(text("SELECT * FROM t")).all()) == []
        other.rollback()
        database.run_here(lambda connection: connection.execute(text("INSERT INTO t VALUES (1)")))


async def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'no such folder' / 'test.db'}")
    with contextlib.closing(database), pytest.raises(DatabaseUnavailable):
        await database.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "test.db").write_bytes(b"this is no database" * 100)
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    with contextlib.closing(database), pytest.raises(DatabaseUnavailable):
        database.read_here(lambda connection: connection.execute(text("SELECT * FROM sqlite_master")).all())


@pytest.mark.parametrize(
    "url", ["", "garbage", "/var/lib/x.db", "mysql://user:hunter2@host/x", "postgres://user:hunter2@host/x"]
)
def test_a_url_that_is_not_supported_is_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite+nonsense:///x.db", "sqlite+aiosqlite:///x.db", "postgresql+asyncpg://host/x"])
def test_a_url_with_another_driver_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Database(url)


async def test_closing_lets_the_unit_under_way_end(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    begun, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> str:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        connection.execute(text("CREATE TABLE t (id INTEGER)"))
        return "done"

    working = asyncio.create_task(database.run(work))
    await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
    closing = asyncio.create_task(asyncio.to_thread(database.close))
    go_on.set()
    await closing
    assert await working == "done"
    with contextlib.closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
