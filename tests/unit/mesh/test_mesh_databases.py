"""What `Database` promises, on both kinds of database."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from sqlalchemy import (
    Column,
    Connection,
    Insert,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from mesh.storage.database import Database, DatabaseUnavailable
from mesh.storage.idempotency import IdempotencyTable
from mesh.storage.statements import DriverStatement

METADATA = MetaData()
NUMBERS = Table("numbers", METADATA, Column("name", String(20), primary_key=True), Column("value", Integer))
IDEMPOTENCY = IdempotencyTable(METADATA)
GET = select(NUMBERS.c.value).where(NUMBERS.c.name == bindparam("key")).with_for_update()
ADD_AGAIN = DriverStatement(insert(NUMBERS).values(name=bindparam("name"), value=bindparam("value")))
ADD = update(NUMBERS).where(NUMBERS.c.name == bindparam("key")).values(value=NUMBERS.c.value + 1)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    opened.run_here(METADATA.create_all)
    opened.run_here(lambda connection: connection.execute(insert(NUMBERS), [{"name": "a", "value": 0}]))
    yield opened
    opened.close()


def value(connection: Connection, key: str = "a") -> int:
    return int(connection.execute(select(NUMBERS.c.value).where(NUMBERS.c.name == key)).scalar_one())


def add(connection: Connection) -> int:
    before = int(connection.execute(GET, {"key": "a"}).scalar_one())
    connection.execute(ADD, {"key": "a"})
    return before + 1


async def test_concurrent_units_each_take_effect_once(database: Database) -> None:
    assert sorted(await asyncio.gather(*(database.run(add) for _ in range(200)))) == list(range(1, 201))
    assert database.read_here(value) == 200


async def test_a_unit_that_raises_leaves_nothing_and_harms_no_other(database: Database) -> None:
    def fail(connection: Connection) -> None:
        add(connection)
        raise LookupError("no")

    works = [fail if number % 3 == 0 else add for number in range(60)]
    outcomes = await asyncio.gather(*(database.run(work) for work in works), return_exceptions=True)
    assert sum(isinstance(outcome, LookupError) for outcome in outcomes) == 20
    assert database.read_here(value) == 40


async def test_the_same_request_sent_many_times_at_once_has_one_effect(database: Database) -> None:
    def once(connection: Connection) -> Int64Value:
        return IDEMPOTENCY.once(
            connection,
            owner="me",
            request_id="request-1",
            request=StringValue(value="x"),
            answer=Int64Value,
            effect=lambda: Int64Value(value=add(connection)),
        )

    assert {answer.value for answer in await asyncio.gather(*(database.run(once) for _ in range(50)))} == {1}
    assert database.read_here(value) == 1


@pytest.mark.parametrize(
    "add_again", [Connection.execute, lambda connection, _, row: ADD_AGAIN.execute(connection, row)]
)
def test_what_a_database_refuses_is_told_without_the_values(
    database: Database, add_again: Callable[[Connection, Insert, dict[str, object]], object]
) -> None:
    """Errors that nobody foresaw go to the log whole."""
    with pytest.raises(IntegrityError) as caught:
        database.run_here(lambda connection: add_again(connection, insert(NUMBERS), {"name": "a", "value": 4711}))
    assert "INSERT INTO numbers" in str(caught.value)
    assert "4711" not in str(caught.value)


def test_a_reading_unit_sees_one_state_and_cannot_write(database: Database) -> None:
    def read(connection: Connection) -> tuple[int, int]:
        first = value(connection)
        writer = threading.Thread(target=database.run_here, args=(add,))
        writer.start()
        writer.join()
        return first, value(connection)

    assert database.read_here(read) == (0, 0)
    assert database.read_here(value) == 1
    with pytest.raises(Exception, match=r"(?i)read-?only|not available"):
        database.read_here(add)
    assert database.read_here(value) == 1


def test_a_deadlock_is_run_again(database: Database, database_url: str) -> None:
    """Two units lock two rows in opposite order, at the same time; SQLite has but one writer, so they only queue."""
    database.run_here(lambda connection: connection.execute(insert(NUMBERS), [{"name": "b", "value": 0}]))
    both = threading.Barrier(2, timeout=60) if database_url.startswith("postgresql") else None
    attempts = []

    def lock(first: str, second: str) -> None:
        def work(connection: Connection) -> None:
            attempts.append(first)
            connection.execute(ADD, {"key": first})
            if both is not None and attempts.count(first) == 1:
                both.wait()
            connection.execute(ADD, {"key": second})

        database.run_here(work)

    threads = [threading.Thread(target=lock, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.read_here(lambda connection: value(connection, "a") + value(connection, "b")) == 4
    # Which of them gave way may come again before the other one woke up, and they meet once more.
    assert len(attempts) > 2 if both else len(attempts) == 2


def test_a_database_that_comes_back_is_used_again(postgresql_url: Callable[[], str]) -> None:
    url = postgresql_url()
    database = Database(url)
    database.run_here(METADATA.create_all)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(DatabaseUnavailable):
        database.run_here(lambda connection: connection.execute(text("SELECT 1")))
    assert database.run_here(lambda connection: connection.execute(text("SELECT 1")).scalar_one()) == 1
    database.close()


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseUnavailable):
        await database.run(lambda connection: connection.execute(text("SELECT 1")))
    database.close()
