"""PgBouncer in transaction mode: each transaction may run on another connection of PostgreSQL's."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import pytest

from cli.local.configurations import HOST, reserved_port
from sekisho.payments.v1 import wallet_service_pb2 as wallet_pb
from tests.clients.built import command
from tests.mesh import OK, mesh_up, sekisho
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
pool_mode = transaction
default_pool_size = 3
"""


@contextmanager
def pgbouncer(postgresql_url: str) -> Iterator[str]:
    """Run PgBouncer before a server; yield the URL of its databases, with `{service}` in place of each one's name."""
    program = command("pgbouncer", "/usr/sbin/pgbouncer")
    server = urlsplit(postgresql_url)
    (socket,), port = parse_qs(server.query)["host"], reserved_port()
    owner = (Path(socket) / ".s.PGSQL.5432").stat()
    with TemporaryDirectory(prefix="sekisho-pgbouncer-") as folder, (Path(folder) / "log").open("wb") as log:
        Path(folder).chmod(0o755)
        ini = Path(folder) / "pgbouncer.ini"
        ini.write_text(CONFIGURATION.format(socket=socket, user=server.username, host=HOST, port=port))
        # It refuses to be root, and the server's socket is for the server's own user.
        account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.getuid() == 0 else {}
        bouncer = subprocess.Popen([program, str(ini)], stdout=log, stderr=log, **account)  # type: ignore[call-overload]
        try:
            until(lambda: listens(port))
            yield f"postgresql://{server.username}@{HOST}:{port}/{{service}}"
        finally:
            bouncer.terminate()
            bouncer.wait(30)


def test_the_whole_story_is_told_behind_pgbouncer(postgresql_url: Callable[..., str], tmp_path: Path) -> None:
    for service in ("authserver", "payments", "shops"):
        url = postgresql_url(service)
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
