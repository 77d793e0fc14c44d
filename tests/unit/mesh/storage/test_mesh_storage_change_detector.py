"""What detects changes of a database tells of each, whoever made it, and otherwise nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import column, select, table, text

from mesh.storage.database import Database

ROW = select(column("value")).select_from(table("head"))


def change(database: Database) -> None:
    database.run_here(lambda connection: connection.execute(text("UPDATE head SET value = value + 1")))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    opened.run_here(lambda connection: connection.execute(text("CREATE TABLE head (value integer)")))
    opened.run_here(lambda connection: connection.execute(text("INSERT INTO head VALUES (1)")))
    yield opened
    opened.close()


async def test_the_state_differs_after_each_change_and_only_then(database: Database, database_url: str) -> None:
    detector, other = database.change_detector(ROW), Database(database_url)
    seen = []
    for each in (database, other, database):
        state = await detector.state()
        assert state is not None
        assert await detector.state() == state
        seen.append(state)
        change(each)
    other.close()
    assert len({*map(str, seen), str(await detector.state())}) == 4


async def test_a_connection_that_is_gone_tells_nothing_once_and_then_again(postgresql_url: Callable[..., str]) -> None:
    url = postgresql_url()
    database = Database(url)
    database.run_here(lambda connection: connection.execute(text("CREATE TABLE head (value integer)")))
    database.run_here(lambda connection: connection.execute(text("INSERT INTO head VALUES (1)")))
    detector = database.change_detector(ROW)
    state = await detector.state()
    with psycopg.connect(url, autocommit=True) as connection:
        others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(f"{others} AND pid <> pg_backend_pid()".encode())
    assert await detector.state() is None
    assert await detector.state() == state
    database.close()


async def test_a_database_that_can_not_be_opened_tells_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    assert await database.change_detector(ROW).state() is None
    database.close()
