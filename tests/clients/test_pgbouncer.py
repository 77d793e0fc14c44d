"""PgBouncer before PostgreSQL: in transaction mode, each transaction may run on another connection of the server's."""

import contextlib
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from sqlalchemy import Connection, text

from cli.local.configurations import HOST, reserved_port
from cli.local.preparation import migrate
from mesh.config import ConfigError
from mesh.errors import DatabaseUnavailable
from mesh.storage.database import Database
from sekisho.payments.v1 import wallet_service_pb2 as wallet_pb
from tests.clients.built import command
from tests.mesh import OK, mesh_up, sekisho
from tests.postgresql import PostgreSQL
from tests.waiting import listens, until

pytestmark = pytest.mark.timeout(180)

CONFIGURATION = """
[databases]
* = host={socket} port=5432 user={user}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {connections}
ignore_startup_parameters = {ignored}
query_wait_timeout = {wait_seconds}
"""


@contextmanager
def pgbouncer(
    postgresql_url: str, mode: str = "transaction", connections: int = 3, ignored: str = "", wait_seconds: int = 120
) -> Iterator[str]:
    """Run PgBouncer before a server; yield the URL of its databases, with `{service}` in place of each one's name."""
    program = command("pgbouncer", "/usr/sbin/pgbouncer")
    server = urlsplit(postgresql_url)
    (socket,), port = parse_qs(server.query)["host"], reserved_port()
    owner = (Path(socket) / ".s.PGSQL.5432").stat()
    with TemporaryDirectory(prefix="sekisho-pgbouncer-") as folder, (Path(folder) / "log").open("wb") as log:
        Path(folder).chmod(0o755)
        ini = Path(folder) / "pgbouncer.ini"
        parameters = {"mode": mode, "connections": connections, "ignored": ignored, "wait_seconds": wait_seconds}
        ini.write_text(CONFIGURATION.format(socket=socket, user=server.username, host=HOST, port=port, **parameters))
        # It refuses to be root, and the server's socket is for the server's own user.
        account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.getuid() == 0 else {}
        bouncer = subprocess.Popen([program, str(ini)], stdout=log, stderr=log, **account)  # type: ignore[call-overload]
        try:
            until(lambda: listens(port))
            yield f"postgresql://{server.username}@{HOST}:{port}/{{service}}"
        finally:
            bouncer.terminate()
            bouncer.wait(30)


def test_the_whole_story_is_told_behind_pgbouncer(postgresql: PostgreSQL, tmp_path: Path) -> None:
    """By a role that may not create tables, as services should have one."""
    for service in ("authserver", "payments", "shops"):
        url = postgresql.for_worker(postgresql.create(service, service))
    with pgbouncer(url) as databases, mesh_up(tmp_path / "home", database=databases) as mesh:
        told = sekisho("demo", "--json", "--home", str(mesh.home.path))
        assert told.returncode == 0, told.stdout

        def open_wallet(_number: int) -> tuple[str, str]:
            request = wallet_pb.OpenWalletRequest(request_id=str(uuid.uuid4()), currency_code="JPY")
            return mesh.attempt(mesh.wallets.OpenWallet, request, token)

        token = mesh.token("wallet")
        with ThreadPoolExecutor(16) as callers:  # more than PostgreSQL has connections for them
            assert set(callers.map(open_wallet, range(200))) == {OK}
        log = mesh.home.log("payments").read_text() + mesh.home.log("authserver").read_text()
        assert '"level":"error"' not in log
        assert sekisho("ledger", "check", "--home", str(mesh.home.path)).returncode == 0


BOUNDS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
SESSION = ", ".join(f"current_setting('{name}')" for name in BOUNDS)


def bounds(connection: Connection) -> list[str]:
    return list(connection.execute(text(f"SELECT {SESSION}")).one())


def backend(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_transactions_are_bounded_and_leave_no_trace_for_others(postgresql_url: Callable[..., str], mode: str) -> None:
    url = postgresql_url()
    name = urlsplit(url).path[1:]
    with pgbouncer(url, mode, connections=1) as databases:
        with contextlib.closing(Database(databases.format(service=name))) as database:
            for _ in range(10):  # a driver that is not told otherwise prepares what comes the sixth time
                assert database.run_here(bounds) == database.read_here(bounds) == ["5s", "30s", "1min"]
        with psycopg.connect(databases.format(service=name), prepare_threshold=None) as other:
            assert other.execute(f"SELECT {SESSION}").fetchone() == ("0", "0", "0")
            assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


@pytest.mark.parametrize("ignored", ["", "options"])
def test_options_that_do_not_reach_postgresql_are_refused(postgresql_url: Callable[..., str], ignored: str) -> None:
    """PgBouncer refuses them itself, or drops them without a word, as it may be told to."""
    url = postgresql_url()
    with pgbouncer(url, ignored=ignored) as databases:
        through = databases.format(service=urlsplit(url).path[1:])
        with pytest.raises(ConfigError if ignored else DatabaseUnavailable, match="ALTER ROLE" if ignored else None):
            migrate("payments", f"{through}?options=-csearch_path%3Delsewhere")
        assert migrate("payments", through) == ["0001", "0002"]


def test_a_database_that_comes_back_is_used_again(postgresql_url: Callable[..., str]) -> None:
    url = postgresql_url()
    with (
        pgbouncer(url) as databases,
        contextlib.closing(Database(databases.format(service=urlsplit(url).path[1:]))) as database,
    ):
        first = database.run_here(backend)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [first])

        def works_again() -> bool:
            with contextlib.suppress(DatabaseUnavailable):
                return database.run_here(backend) != first
            return False

        until(works_again)


def test_no_free_connection_of_pgbouncers_is_a_database_that_is_not_available(
    postgresql_url: Callable[..., str],
) -> None:
    url = postgresql_url()
    with pgbouncer(url, connections=1, wait_seconds=1) as databases:
        through = databases.format(service=urlsplit(url).path[1:])
        with contextlib.closing(Database(through)) as database:
            database.run_here(backend)
            with psycopg.connect(through, prepare_threshold=None) as other:
                other.execute("SELECT 1")  # its transaction goes on
                with pytest.raises(DatabaseUnavailable):
                    database.run_here(backend)
            assert database.run_here(backend)


def test_pgbouncer_in_statement_mode_is_said_to_be_that(postgresql_url: Callable[..., str]) -> None:
    url = postgresql_url()
    with pgbouncer(url, "statement") as databases:
        refused = sekisho("migrate", "payments", "--database", databases.format(service=urlsplit(url).path[1:]))
    assert refused.returncode == 2
    assert "transaction blocks not allowed in statement pooling mode" in refused.stderr
