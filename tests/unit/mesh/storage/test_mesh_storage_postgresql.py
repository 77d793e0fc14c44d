"""PostgreSQL as people have it: the rows of the tables in docs/storage.md, but for PgBouncer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from sqlalchemy import Connection, Integer, column, select, text
from sqlalchemy.exc import DBAPIError

from cli.local.preparation import migrate
from mesh.config import ConfigError
from mesh.errors import DatabaseUnavailable
from mesh.storage import migrations
from mesh.storage.database import Database
from mesh.storage.statements import DriverStatement
from tests.databases import upgrade_to
from tests.postgresql import PostgreSQL, primary_and_standby
from tests.waiting import until

Create = Callable[..., str]


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def backend(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def add_row(connection: Connection) -> int:
    connection.execute(text("INSERT INTO rows VALUES (1)"))
    return backend(connection)


BOUNDS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def settings(connection: Connection, names: tuple[str, ...] = BOUNDS) -> list[str]:
    return [str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in names]


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_no_transaction_waits_or_idles_without_end(postgresql_url: Create) -> None:
    with opened(postgresql_url()) as database:
        assert database.run_here(settings) == database.read_here(settings) == ["5s", "30s", "1min"]


def test_the_database_says_nothing_of_how_transactions_are_isolated(postgresql_url: Create) -> None:
    """Units of work wait for each other's rows, and then see what the other one wrote."""
    url = postgresql_url()
    execute(url, f"ALTER DATABASE {name_of(url)} SET default_transaction_isolation = serializable")

    def isolation(connection: Connection) -> list[str]:
        return settings(connection, ("transaction_isolation", "transaction_read_only"))

    with opened(url) as database:
        for _ in range(2):  # on the same connection
            assert database.run_here(isolation) == ["read committed", "off"]
            assert database.read_here(isolation) == ["repeatable read", "on"]


def test_a_server_that_is_to_be_read_only_is_not_talked_out_of_it(postgresql_url: Create) -> None:
    url = postgresql_url()
    execute(url, "CREATE TABLE rows (id integer)")
    execute(url, f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")
    with opened(url) as database:
        database.read_here(backend)  # on the connection that the next one gets
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                database.run_here(add_row)


def test_a_server_that_became_read_only_is_left_for_the_one_that_writes_now() -> None:
    with primary_and_standby() as (primary, standby, promote):
        execute(primary, "CREATE TABLE rows (id integer)")
        sockets = [parse_qs(urlsplit(url).query)["host"][0] for url in (primary, standby)]
        several = f"{primary}&host={sockets[1]}&target_session_attrs=read-write"
        with opened(several) as database:

            def on_two_connections(connection: Connection) -> set[str]:
                """Use two, so that not only the one that is refused is left."""
                return {database.read_here(socket), socket(connection)}

            database.run_here(add_row)
            assert database.read_here(on_two_connections) == {sockets[0]}
            execute(primary, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
            until(lambda: database.read_here(read_only))
            promote()
            with pytest.raises(DatabaseUnavailable):
                database.run_here(add_row)
            database.run_here(add_row)
            assert database.read_here(on_two_connections) == {sockets[1]}
            assert database.read_here(rows) == 2


def socket(connection: Connection) -> str:
    """Return the folder of the socket that the server listens at."""
    return str(connection.exec_driver_sql("SHOW unix_socket_directories").scalar_one())


def read_only(connection: Connection) -> bool:
    return settings(connection, ("default_transaction_read_only",)) == ["on"]


def rows(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM rows")).scalar_one())


# SQLSTATE: what it is, what becomes of the unit of work, and how often that runs.
STATES: dict[str, tuple[str, type[Exception], int]] = {
    "08006": ("the connection broke", DatabaseUnavailable, 1),
    "08P01": ("PgBouncer's own errors", DatabaseUnavailable, 1),
    "23505": ("another unit inserted the row first", DBAPIError, 5),
    "25006": ("the server is read-only", DatabaseUnavailable, 1),
    "3F000": ("no schema of the search path is there", ConfigError, 1),
    "40001": ("a serialization failure", DatabaseUnavailable, 5),
    "40P01": ("a deadlock", DatabaseUnavailable, 5),
    "42501": ("the role lacks a permission", ConfigError, 1),
    "42703": ("there is no such column", DBAPIError, 1),
    "53100": ("the disk is full", DatabaseUnavailable, 1),
    "53200": ("no memory is left", DatabaseUnavailable, 1),
    "53300": ("too many connections", DatabaseUnavailable, 1),
    "55P03": ("a lock was waited for too long", DatabaseUnavailable, 1),
    "57014": ("the statement took too long", DatabaseUnavailable, 1),
    "57P01": ("the server is shut down", DatabaseUnavailable, 1),
    "57P02": ("another session crashed", DatabaseUnavailable, 1),
    "57P03": ("the server starts or stops", DatabaseUnavailable, 1),
    "57P05": ("the session was idle for too long", DatabaseUnavailable, 1),
    "58030": ("the disk fails", DatabaseUnavailable, 1),
}


@pytest.fixture(scope="module")
def one_database(postgresql_url: Create) -> Iterator[Database]:
    with opened(postgresql_url()) as database:
        yield database


@pytest.mark.parametrize("state", STATES)
def test_each_error_of_postgresql_has_its_meaning(one_database: Database, state: str) -> None:
    attempts: list[str] = []

    def fail(connection: Connection) -> None:
        attempts.append(state)
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")

    _, becomes, times = STATES[state]
    with pytest.raises(becomes):
        one_database.run_here(fail)
    assert len(attempts) == times


ASK = DriverStatement(select(column("n", Integer)).select_from(text("(SELECT 1 AS n) AS one")))


@pytest.mark.parametrize("ask", [ASK.first, lambda connection, _: backend(connection)], ids=["driver", "SQLAlchemy"])
def test_a_transaction_that_the_server_ended_for_doing_nothing_is_a_database_that_is_not_available(
    postgresql_url: Create, ask: Callable[[Connection, Any], object]
) -> None:
    url = postgresql_url()

    def halt(connection: Connection) -> None:
        process = backend(connection)
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
        until(lambda: [process] not in found(url, "SELECT pid FROM pg_stat_activity"))
        ask(connection, {})

    with opened(url) as database:
        with pytest.raises(DatabaseUnavailable):
            database.run_here(halt)
        assert database.run_here(backend)


def test_of_several_hosts_the_one_is_taken_that_is_there_and_writes(postgresql_url: Create) -> None:
    url = postgresql_url()
    execute(url, "CREATE TABLE rows (id integer)")
    several = f"{url}&host=/nowhere&target_session_attrs=read-write"
    with opened(several) as database:
        database.run_here(add_row)
    execute(url, f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")
    with opened(several) as database, pytest.raises(DatabaseUnavailable):
        database.run_here(backend)


@pytest.mark.parametrize(
    ("written", "hosts", "ports"),
    [
        ("one:5432,two:5433", "one,two", "5432,5433"),
        ("one,two:5433", "one,two", ",5433"),
        ("[2001:db8::1]:5432,[::1]", "2001:db8::1,::1", "5432,"),
    ],
)
def test_several_hosts_may_stand_in_a_url_as_postgresqls_own_tools_take_them(
    written: str, hosts: str, ports: str
) -> None:
    with opened(f"postgresql://someone:secret@{written}/payments?target_session_attrs=read-write") as database:
        arguments = database.engine.dialect.create_connect_args(database.engine.url)[1]
    assert {name: arguments[name] for name in ("host", "port", "user", "password", "dbname")} == {
        "host": hosts,
        "port": ports,
        "user": "someone",
        "password": "secret",
        "dbname": "payments",
    }


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://one:5432,two:x/payments",
        "postgresql://one:1:2,two/payments",
        "postgresql://me:hunter2@/payments?host=[::1]:1&host=[::1]:2",
        "postgresql://me:hunter2@one,two/payments?port=1,2,3",
    ],
)
def test_hosts_that_can_not_be_read_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(ConfigError, match="the database URL can't be read") as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding_is_refused_when_it_is_migrated(postgresql_url: Create, encoding: str) -> None:
    url, name = postgresql_url(), f"in_{encoding.lower()}"
    execute(url, f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    before, _, after = url.partition("?")
    other = f"{before.rpartition('/')[0]}/{name}?{after}"
    with pytest.raises(ConfigError, match=f"keeps text in {encoding}: create one with ENCODING 'UTF8'"):
        migrate("payments", other)


def test_options_in_the_url_hold(postgresql_url: Create) -> None:
    url = postgresql_url()
    execute(url, "CREATE SCHEMA elsewhere")
    migrate("payments", f"{url}&options=-csearch_path%3Delsewhere")
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT DISTINCT schemaname FROM pg_tables WHERE tableowner = current_user"
        ).fetchall()
    assert "elsewhere" in {schema for (schema,) in found}
    assert "public" not in {schema for (schema,) in found}


def test_a_schema_that_is_not_there_is_refused_in_one_line(postgresql_url: Create) -> None:
    with pytest.raises(ConfigError, match="no schema has been selected to create in: create the schema") as caught:
        migrate("payments", f"{postgresql_url()}&options=-csearch_path%3Delsewhere")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", ["-c lock_timeout=7s", "--lock-timeout=7s"])
def test_bounds_in_the_url_hold_and_the_others_stay(postgresql_url: Create, options: str) -> None:
    url = postgresql_url()
    written = options.replace(" ", "%20").replace("=", "%3D")
    with opened(f"{url}&options={written}&keepalives_idle=77&connect_timeout=9") as database:
        assert database.run_here(settings) == ["7s", "30s", "1min"]
        with database.engine.connect() as connection:
            parameters = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    assert {name: parameters[name] for name in ("keepalives_idle", "keepalives_count", "connect_timeout")} == {
        "keepalives_idle": "77",
        "keepalives_count": "3",
        "connect_timeout": "9",
    }


def test_text_is_text_whatever_the_environment_says_of_its_encoding(
    postgresql_url: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with opened(postgresql_url()) as database:
        assert database.run_here(lambda connection: connection.execute(text("SELECT '関所'")).scalar()) == "関所"


def test_a_role_that_may_not_create_tables_works_but_does_not_migrate(postgresql: PostgreSQL) -> None:
    """That it works, the tests of a whole mesh on PostgreSQL show."""
    url = postgresql.create()
    as_worker = postgresql.for_worker(url)
    with pytest.raises(ConfigError, match="permission denied for schema public: `sekisho migrate` needs the owner"):
        migrate("payments", as_worker)
    migrate("payments", url)
    with pytest.raises(ConfigError, match=r"permission denied for table alembic_version: .* SELECT, INSERT, UPDATE"):
        migrate("payments", as_worker)
    postgresql.for_worker(url)  # now that there are tables
    assert migrate("payments", as_worker) == []


@contextmanager
def another_migration(url: str) -> Iterator[psycopg.Connection]:
    """Run one that does not end before the context does."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(b"sekisho")])
        yield connection


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_who_migrates_second_waits_and_finds_nothing_to_do(postgresql_url: Create, isolation: str) -> None:
    url, ran = postgresql_url(), list[list[str]]()
    execute(url, f"ALTER DATABASE {name_of(url)} SET default_transaction_isolation = '{isolation}'")
    with opened(url) as database:
        database.run_here(lambda connection: upgrade_to(connection, "payments", "0001"))
        with another_migration(url):
            both = [threading.Thread(target=lambda: ran.append(migrate("payments", url))) for _ in range(2)]
            for thread in both:
                thread.start()
            until(lambda: len(found(url, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")) == 2)
        for thread in both:
            thread.join(60)
    assert sorted(ran) == [[], ["0002"]]


def test_a_migration_waits_for_another_as_long_as_it_takes_but_not_for_a_table(
    postgresql_url: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All calls that need the table would wait behind it."""
    waited = []

    def look(connection: Connection, _service: str) -> list[str]:
        waited.append(settings(connection, ("lock_timeout", "statement_timeout")))
        return []

    monkeypatch.setattr(migrations, "pending_migrations", look)
    url = postgresql_url()
    migrate("payments", url)
    migrate("payments", f"{url}&options=-clock_timeout%3D2s")
    assert waited == [["5s", "0"], ["2s", "0"]]


def found(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return [list(row) for row in connection.execute(query.encode())]


def name_of(url: str) -> str:
    return urlsplit(url).path[1:]
