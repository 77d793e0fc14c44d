import sys
from pathlib import Path

import pytest
from cryptography import x509

from cli.home import Home
from cli.main import COMMANDS, load, main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["sekisho", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["migrate", "gateway"], "sekisho: gateway has no database\n"),
        (["migrate", "--database", "sqlite://"], "--database needs to know whose it is"),
        (["migrate", "payments", "--database", "mysql://x/y"], "not mysql"),
        (["migrate", "payments", "--database", "nonsense"], "the database URL can't be read"),
        (["migrate"], "run: sekisho up --home"),
        (["prepare", "--workload", "../greeter"], "../greeter is no name for a workload"),
        (["prepare", "--workload", "workload-ca-"], "workload-ca- is no name for a workload"),
        (["serve", "gateway"], "run: sekisho up --home"),
        (["ledger", "check"], "is not there"),
        (["audit", "check"], "run: sekisho up --home"),
        (["auth", "restored", "--config", "none.yaml"], "none.yaml"),
        (["clients", "create", "operator", "alice"], "run: sekisho up --home"),
        (["policy", "table", "--config", "none.yaml"], "none.yaml"),
    ],
)
def test_what_its_user_can_mend_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("sekisho: ")
    assert says in written.err
    assert written.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_home_is_prepared_with_certificates_for_services_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("greeter", "workload-ca")  # what is there is kept
    options = [option for name in names for option in ("--workload", name)]
    assert run(monkeypatch, "prepare", "--home", str(tmp_path), "--port", "0", *options) == 0
    home = Home.at(tmp_path)
    assert home.config("gateway").exists()
    authority, issued = (
        x509.load_pem_x509_certificate((home.pki / f"{name}.pem").read_bytes()) for name in ("workload-ca", "greeter")
    )
    issued.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    names_in_it = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names_in_it.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://sekisho/greeter"]
    before = (home.pki / "greeter.pem").read_bytes()
    assert run(monkeypatch, "prepare", "--home", str(tmp_path), "--port", "0", *options) == 0
    assert (home.pki / "greeter.pem").read_bytes() == before
    with home.locked():
        assert run(monkeypatch, "prepare", "--home", str(tmp_path)) == 2


def test_a_second_mesh_in_the_same_home_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Home.at(tmp_path).locked():
        assert run(monkeypatch, "up", "--home", str(tmp_path), "--json") == 2
    assert capsys.readouterr().err == (
        f"sekisho: a mesh is up in {tmp_path} already; stop it, or choose another --home\n"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_of_each_what_its_own_help_begins_with(name: str) -> None:
    first_paragraph = load(name).help.partition("\n\n")[0]
    assert " ".join(first_paragraph.split()) == COMMANDS[name][1]


@pytest.mark.parametrize("option", [[], ["--help"]])
def test_the_commands_are_listed_without_being_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    monkeypatch.setattr("cli.main.load", None)
    run(monkeypatch, *option)
    listed = capsys.readouterr().out
    assert all(f" {name} " in listed for name in COMMANDS)


def test_a_command_that_is_almost_one_is_taken_for_none_and_the_right_one_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "clints") == 2
    assert "Did you mean 'clients'?" in capsys.readouterr().err


def test_an_unknown_command_is_a_mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "open") == 2
    assert "No such command" in capsys.readouterr().err


def test_what_nobody_foresaw_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cli.main.app", broken)
    with pytest.raises(ZeroDivisionError):
        main()
