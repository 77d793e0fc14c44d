"""PostgreSQL as people have it: the rows of the table in docs/storage.md, but for PgBouncer."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Connection, text

from cli.local.preparation import migrate
from mesh.config import ConfigError
from mesh.errors import DatabaseUnavailable
from mesh.storage.database import Database

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


def settings(connection: Connection) -> list[str]:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    return [str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in names]


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_no_transaction_waits_or_idles_without_end(postgresql_url: Create) -> None:
    with opened(postgresql_url()) as database:
        assert database.run_here(settings) == database.read_here(settings) == ["5s", "30s", "1min"]


def test_a_server_that_became_read_only_is_unavailable_and_its_connection_is_given_up(
    postgresql_url: Create,
) -> None:
    url = postgresql_url()
    execute(url, "CREATE TABLE rows (id integer)")
    with opened(url) as database:
        first = database.run_here(add_row)
        assert database.run_here(add_row) == first
        execute(url, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        try:
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable):
                    until_read_only(database)
        finally:
            execute(
                url,
                "SET default_transaction_read_only = off",
                "ALTER SYSTEM RESET default_transaction_read_only",
                "SELECT pg_reload_conf()",
            )
        assert until_writable(database) != first


def until_read_only(database: Database) -> None:
    """Write on: a session hears of its server's new configuration after its next statement."""
    for _ in range(1_000):
        database.run_here(add_row)


def until_writable(database: Database) -> int:
    for _ in range(1_000):
        try:
            return database.run_here(add_row)
        except DatabaseUnavailable:
            continue
    raise AssertionError("it stays read-only")


def test_of_several_hosts_the_one_is_taken_that_is_there_and_writes(postgresql_url: Create) -> None:
    url = postgresql_url()
    execute(url, "CREATE TABLE rows (id integer)")
    several = f"{url}&host=/nowhere&target_session_attrs=read-write"
    with opened(several) as database:
        database.run_here(add_row)
    name = url.partition("?")[0].rpartition("/")[2]
    execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with opened(several) as database, pytest.raises(DatabaseUnavailable):
        database.run_here(backend)


def test_several_hosts_may_stand_in_a_url_as_postgresqls_own_tools_take_them() -> None:
    with opened("postgresql://someone:secret@one:5432,two:5433/payments?target_session_attrs=read-write") as database:
        arguments = database.engine.dialect.create_connect_args(database.engine.url)[1]
    assert {name: arguments[name] for name in ("host", "port", "user", "password", "dbname")} == {
        "host": "one,two",
        "port": "5432,5433",
        "user": "someone",
        "password": "secret",
        "dbname": "payments",
    }


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


def test_a_role_that_may_not_create_tables_works_but_does_not_migrate(postgresql_url: Create) -> None:
    url = postgresql_url()
    execute(
        url,
        "DO $$ BEGIN CREATE ROLE worker LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    as_worker = url.replace("postgres:@", "worker@").replace("postgres@", "worker@")
    assert "worker@" in as_worker
    with pytest.raises(ConfigError, match="permission denied for schema public: migrate as the owner"):
        migrate("payments", as_worker)
    migrate("payments", url)
    execute(url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker")
    assert migrate("payments", as_worker) == []
    with opened(as_worker) as database:
        assert (
            database.read_here(lambda connection: connection.execute(text("SELECT current_user")).scalar()) == "worker"
        )


def test_who_migrates_second_waits_and_finds_nothing_to_do(new_database_url: Create) -> None:
    url = new_database_url()
    command = [sys.executable, "-c", "from cli.main import main; main()", "migrate", "authserver", "--database", url]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)
    ]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], told
    assert sorted(line.partition(" ")[2][:7] for line in told) == ["nothing", "nothing", "ran 000"]
