import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from authserver.audit.store import read_page
from authserver.clients.provision import provision_staff
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from authserver.keys.rotation import KeyKeeper, paces, prepare_keys
from cli.home import Home
from cli.local.configurations import Ports
from cli.local.preparation import prepare, provisioner
from cli.main import main
from mesh.access.rules import ClientType
from mesh.config import load
from mesh.security.secret_files import create_key
from mesh.storage.database import Database
from tests.migrated import migrate

NOW_MS = 1_800_000_000_000

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home.at(tmp_path_factory.mktemp("prepared"))
    prepare(home, Ports.choose(7443))
    return home


@pytest.fixture
def config(home: Home, database_url: str) -> Path:
    """Return the configuration of an auth server that has run for a while on a database of its own."""
    database = Database(database_url)
    migrate(database, "authserver")
    content = yaml.safe_load(home.config("authserver").read_text())
    file = home.folder("authserver") / "other.yaml"
    file.write_text(yaml.safe_dump({**content, "database": database_url}))
    settings = load(file, AuthServerConfig)
    installation = read_installation(settings)
    keeper = KeyKeeper(installation.key_encryption, paces(settings), installation.trail)
    database.run_here(lambda connection: prepare_keys(connection, keeper, NOW_MS - 1_000_000_000))
    database.close()
    return file


@pytest.fixture
def run(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: dict[str, float]
) -> Run:
    """Run `sekisho keys`; return what it prints as JSON, or what it complains of."""
    del clock

    def run_keys(*arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["sekisho", "keys", *arguments, "--config", str(config), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return json.loads(written.out) if not ended.value.code else written.err

    return run_keys


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Set the commands' clock; what they wait passes at once."""
    clock = {"now": NOW_MS / 1000}
    monkeypatch.setattr("cli.authserver.keys.time.time", lambda: clock["now"])
    monkeypatch.setattr("cli.authserver.keys.time.sleep", lambda seconds: clock.update(now=clock["now"] + seconds))
    return clock


def states(run: Run) -> dict[tuple[str, int], str]:
    return {(key["use"], key["key_id"]): key["state"] for key in run("list")["keys"]}


def test_the_keys_are_listed_with_their_times(run: Run) -> None:
    keys = run("list")["keys"]
    assert sorted(key["use"] for key in keys) == ["sealing", "signing"]
    assert {key["state"] for key in keys} == {"active"}
    assert {key["activate_time"] for key in keys} == {"2027-01-03T18:13:20.000Z"}
    assert {key["retire_time"] for key in keys} == {None}


def test_a_successor_is_announced(run: Run) -> None:
    announced = run("rotate", "sealing")
    assert announced["use"] == "sealing"
    assert announced["state"] == "announced"
    assert announced["activate_time"] == "2027-01-15T08:10:00.000Z"
    assert sorted(states(run).values()) == ["active", "active", "announced"]
    assert "announced already" in run("rotate", "sealing")


def test_in_an_emergency_a_key_is_replaced_and_retired_by_two_commands(run: Run) -> None:
    (old,) = (key["key_id"] for key in run("list")["keys"] if key["use"] == "signing")
    assert f"key {old} is in use; first run: sekisho keys rotate signing --now" in run("retire", str(old))
    new = run("rotate", "signing", "--now")["key_id"]
    assert states(run)["signing", new] == "active"
    assert states(run)["signing", old] == "retiring"
    assert run("retire", str(old))["state"] == "retired"
    assert states(run)["signing", old] == "retired"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["retire", "99"], "there is no key 99"),
        (["retire", "one"], "Invalid value"),
        (["rotate", "shredding"], "signing"),
        (["rotate"], "Missing argument"),
    ],
)
def test_what_can_not_be_done_is_said(run: Run, arguments: list[str], complaint: str) -> None:
    assert complaint in run(*arguments)


def test_the_operator_stands_in_the_audit_log(run: Run, database_url: str) -> None:
    key_id = run("rotate", "sealing")["key_id"]
    database = Database(database_url)
    lines = [each.line for each in database.read_here(read_page)]
    database.close()
    assert [(line.actor, line.subject) for line in lines[-1:]] == [
        (f"operator:{getpass.getuser()}", f"sealing key {key_id}")
    ]


def test_the_secrets_that_hang_on_each_pepper_are_counted(run: Run, config: Path, database_url: str) -> None:
    settings, database = load(config, AuthServerConfig), Database(database_url)
    for name in ("alice", "bob", "carol"):
        database.run_here(
            lambda connection, name=name: provision_staff(
                connection, provisioner(settings), ClientType.OPERATOR, name, frozenset({"reviews.read"})
            )
        )
    assert run("list")["peppers"] == [{"id": 1, "secrets": 3, "configured": True}]
    expired = text(
        "UPDATE client_secrets SET expire_time = :now WHERE secret_id = (SELECT MIN(secret_id) FROM client_secrets)"
    )
    database.run_here(lambda connection: connection.execute(expired, {"now": NOW_MS}))
    assert run("list")["peppers"] == [{"id": 1, "secrets": 2, "configured": True}]
    database.close()
    create_key(config.parent / "pepper-2")
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**content, "peppers": [{"id": 2, "file": "pepper-2"}]}))
    assert run("list")["peppers"] == [
        {"id": 1, "secrets": 2, "configured": False},
        {"id": 2, "secrets": 0, "configured": True},
    ]


@pytest.mark.usefixtures("clock")
def test_people_read_tables(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["list"], ["active", "signing", "sealing", "pepper"]),
        (["rotate", "sealing"], ["sealing", "is used from"]),
        (["rotate", "--help"], ["sekisho keys rotate sealing"]),
    ):
        options = [] if "--help" in arguments else ["--config", str(config)]
        monkeypatch.setattr(sys, "argv", ["sekisho", "keys", *arguments, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        printed = capsys.readouterr().out
        assert [word for word in words if word not in printed] == []


def test_a_database_that_is_not_migrated_is_refused_with_the_remedy(run: Run, config: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**content, "database": f"sqlite:///{tmp_path / 'empty.db'}"}))
    assert "run: sekisho migrate" in run("list")
