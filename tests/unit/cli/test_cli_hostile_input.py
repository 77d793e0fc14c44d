"""What a person may type by mistake is answered in one line, without a traceback; standard output is for answers."""

import json
import socket
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli.home import Home
from cli.local.configurations import Ports
from cli.local.preparation import prepare
from tests.mesh import sekisho

HOSTILE = [
    "a b",
    "a#b",
    "feature%2Fpay",
    "h?q=1",
    "it's",
    "a;b",
    "緑茶\u3000二缶",
    "x" * 200,
    "[bold]",
    "{home}",
    "a:b@c",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    home = Home.at(tmp_path / name)
    prepare(home, Ports.choose(0))
    assert list(tmp_path.iterdir()) == [home.path]
    for service in ("authserver", "payments", "shops"):
        assert (home.folder(service) / "database.db").stat().st_size > 10_000
    assert not stat.S_IMODE(home.folder("authserver").stat().st_mode) & 0o077


MISTAKES = {
    "a file as the home": ["prepare", "--home", "{file}"],
    "a home that can't be made": ["prepare", "--home", "/proc/home"],
    "a file as the home of a mesh": ["up", "--json", "--port", "0", "--home", "{file}"],
    "a port that is no number": ["migrate", "payments", "--database", "postgresql://localhost:notaport/x"],
    "a parameter that SQLite does not have": ["migrate", "payments", "--database", "sqlite:////tmp/x.db?foo=bar"],
    "a parameter that PostgreSQL does not have": ["migrate", "payments", "--database", "postgresql://h/x?foo=bar"],
    "a timeout that is no number": ["migrate", "payments", "--database", "sqlite:////tmp/x.db?timeout=soon"],
    "a database in memory": ["migrate", "payments", "--json", "--database", "sqlite://"],
    "a database in a folder that is not there": ["migrate", "payments", "--json", "--database", "sqlite:////no/x.db"],
    "a database that nobody serves": ["migrate", "payments", "--json", "--database", "postgresql://127.0.0.1:1/x"],
    "a file that is no database": ["ledger", "check", "--json", "--database", "sqlite:///{file}"],
    "no database URL at all": ["migrate", "payments", "--database", "nonsense"],
    "a folder as a configuration": ["policy", "table", "--json", "--config", "{folder}"],
    "a configuration that is none": ["policy", "table", "--json", "--config", "{file}"],
    "a folder as a token": ["policy", "explain", "a.B/C", "--json", "--token-file", "{folder}"],
    "a home that is none": ["clients", "list", "--json", "--home", "{folder}/none"],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_by_its_status(tmp_path: Path, mistake: str) -> None:
    file = tmp_path / "file"
    file.write_text("hello")
    done = sekisho(
        *(each.replace("{file}", str(file)).replace("{folder}", str(tmp_path)) for each in MISTAKES[mistake])
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sekisho: ")
    assert done.stderr.count("\n") == 1


def test_the_cause_of_a_database_that_is_not_there_is_told() -> None:
    done = sekisho("migrate", "payments", "--database", "postgresql://127.0.0.1:1/x")
    assert "the database is not available: " in done.stderr
    assert "Connection refused" in done.stderr


def test_the_version_is_told() -> None:
    assert sekisho("--version").stdout == f"sekisho {version('sekisho')}\n"


def test_what_is_printed_as_json_is_nothing_else(tmp_path: Path) -> None:
    for command in ("prepare --port 0", "migrate", "clients list", "keys list", "ledger check", "policy table"):
        done = sekisho(*command.split(), "--json", "--home", str(tmp_path / "home"))
        assert (done.returncode, done.stderr) == (0, "")
        assert all(isinstance(json.loads(line), dict | list) for line in done.stdout.splitlines())


# IPv4 has no loopback address in this process, so the mesh that it starts is to use IPv6's.
WITHOUT_IPV4 = """
import socket

class WithoutIPv4(socket.socket):
    def bind(self, address):
        if address[0] == "127.0.0.1":
            raise OSError(99, "Cannot assign requested address")
        super().bind(address)

socket.socket = WithoutIPv4
from cli.main import main
main()
"""


def test_a_mesh_runs_on_a_machine_without_a_loopback_address_of_ipv4() -> None:
    if not has_ipv6_loopback():
        pytest.skip("this machine has no loopback address of IPv6")
    command = [sys.executable, "-c", WITHOUT_IPV4, "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    home = Path(json.loads(done.stdout.splitlines()[0])["home"])
    assert not home.exists()  # it was temporary


def has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
