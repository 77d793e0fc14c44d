"""Statements that pass SQLAlchemy by behave as through it, on both kinds of database."""

from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    LargeBinary,
    MetaData,
    RowMapping,
    Select,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy import bindparam as bind
from sqlalchemy.exc import IntegrityError

from mesh.storage.database import Database, DatabaseUnavailable, UnstorableText
from mesh.storage.statements import DriverStatement

METADATA = MetaData()
THINGS = Table(
    "things",
    METADATA,
    Column("name", String(20), primary_key=True),
    Column("number", BigInteger),
    Column("content", LargeBinary),
)
OTHERS = Table("others", METADATA, Column("flag", Boolean), Column("time", DateTime))
ROW = {"name": "ä", "number": 2**53, "content": bytes(range(256))}
EMPTY = {"name": "", "number": None, "content": None}

INSERT = DriverStatement(insert(THINGS))
FIND = DriverStatement(select(THINGS).where(THINGS.c.name == bind("wanted")))
SET = DriverStatement(update(THINGS).where(THINGS.c.name == bind("wanted")).values(number=bind("new")))
RAISE = DriverStatement(update(THINGS).values(number=THINGS.c.number + bind("by")).returning(THINGS.c.number))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    opened.run_here(METADATA.create_all)
    yield opened
    opened.close()


def kept(database: Database) -> Sequence[RowMapping]:
    """Return all rows, as SQLAlchemy gives them."""
    query = select(THINGS).order_by(THINGS.c.name)
    return database.read_here(lambda connection: connection.execute(query).mappings().all())


@pytest.mark.parametrize("row", [ROW, EMPTY], ids=["all kinds", "absent"])
def test_values_go_in_and_come_out_as_through_sqlalchemy(database: Database, row: dict[str, object]) -> None:
    database.run_here(lambda connection: INSERT.execute(connection, row))
    assert kept(database) == [row]
    found = database.run_here(lambda connection: FIND.first(connection, {"wanted": row["name"]}))
    assert found._asdict() == row
    assert [type(value) for value in found] == [type(value) for value in row.values()]


def test_what_finds_nothing_has_no_first_row(database: Database) -> None:
    assert database.run_here(lambda connection: FIND.first(connection, {"wanted": "x"})) is None


def test_a_statement_runs_once_for_each_of_many_rows(database: Database) -> None:
    rows = [{"name": str(number), "number": number, "content": None} for number in range(9)]
    database.run_here(lambda connection: INSERT.execute_many(connection, rows))
    assert kept(database) == rows
    changes = [{"wanted": row["name"], "new": -number} for number, row in enumerate(rows)]
    database.run_here(lambda connection: SET.execute_many(connection, changes))
    assert [row["number"] for row in kept(database)] == [-number for number in range(9)]


def test_a_change_returns_what_it_made(database: Database) -> None:
    database.run_here(lambda connection: INSERT.execute(connection, ROW | {"number": 5}))
    rows = database.run_here(lambda connection: RAISE.execute(connection, {"by": 2}))
    assert [row.number for row in rows] == [7]


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_what_the_database_refuses_fails_as_through_sqlalchemy_and_rolls_back(database: Database, many: bool) -> None:  # noqa: FBT001 - a parameter of the test
    def work(connection: Connection) -> None:
        INSERT.execute(connection, ROW)
        if many:
            INSERT.execute_many(connection, [EMPTY, ROW])
        INSERT.execute(connection, ROW)

    with pytest.raises(IntegrityError) as refused:
        database.run_here(work)
    assert "things" in str(refused.value.orig)
    assert kept(database) == []


def test_a_text_that_postgresql_cannot_keep_is_refused_as_such(postgresql_url: Callable[[], str]) -> None:
    database = Database(postgresql_url())
    database.run_here(METADATA.create_all)
    with pytest.raises(UnstorableText):
        database.run_here(lambda connection: INSERT.execute(connection, ROW | {"name": "\0"}))
    database.close()


def test_a_database_that_comes_back_is_used_again(postgresql_url: Callable[[], str]) -> None:
    url = postgresql_url()
    database = Database(url)
    database.run_here(METADATA.create_all)

    def both(connection: Connection) -> list[str]:
        """Use a connection, and another one meanwhile."""
        here = FIND.first(connection, {"wanted": "ä"})
        other = database.run_here(lambda connection: FIND.first(connection, {"wanted": "ä"}))
        return [here.name, other.name]

    database.run_here(lambda connection: INSERT.execute(connection, ROW))
    assert database.read_here(both) == ["ä", "ä"]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(DatabaseUnavailable):
        database.run_here(lambda connection: FIND.first(connection, {"wanted": "ä"}))
    assert database.read_here(both) == ["ä", "ä"]
    database.close()


@pytest.mark.parametrize(
    "query",
    [
        select(THINGS).where(THINGS.c.name.in_(bind("names", expanding=True))),
        select(THINGS).where(THINGS.c.number == 7),
        select(OTHERS.c.flag),
        select(THINGS.c.name).where(OTHERS.c.time == bind("when")),
    ],
    ids=["list", "value", "column", "parameter"],
)
def test_a_statement_whose_values_would_need_sqlalchemy_is_refused(database: Database, query: Select[str]) -> None:
    statement = DriverStatement(query)
    with pytest.raises(TypeError):
        database.run_here(lambda connection: statement.execute(connection, {"names": ["a"], "when": 1}))
