import fcntl
import stat
from pathlib import Path

import pytest

from cli.home import Home, MeshAddresses, read_credentials
from mesh.config import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


def addresses(folder: Path) -> MeshAddresses:
    return MeshAddresses(
        gateway="127.0.0.1:7443",
        shops="127.0.0.1:7444",
        oauth="https://localhost:7447",
        ca=folder / "pki" / "public-ca.pem",
        master_credentials=folder / "master.json",
        operator_credentials=folder / "operator.json",
        wallet_credentials=folder / "wallet.json",
        logs=folder / "logs",
    )


def test_a_home_is_absolute_wherever_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.at(Path("here")).path == tmp_path / "here"


def test_one_mesh_at_a_time_lives_in_a_home(home: Home) -> None:
    with home.locked():
        with pytest.raises(ConfigError, match="a mesh is up"), home.locked():
            pass
        assert home.is_up()
    with home.locked():
        pass


def test_a_home_is_free_again_after_a_failure(home: Home) -> None:
    with pytest.raises(ZeroDivisionError), home.locked():
        raise ZeroDivisionError
    assert not home.is_up()


def test_a_lock_held_by_anybody_means_up(home: Home) -> None:
    home.path.mkdir()
    with (home.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert home.is_up()
    assert not home.is_up()


def test_to_ask_whether_a_mesh_is_up_makes_nothing(home: Home) -> None:
    assert not home.is_up()
    assert not home.path.exists()


def test_only_its_owner_can_look_into_a_home(home: Home) -> None:
    with home.locked():
        assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_addresses_are_read_as_they_were_written_and_forgotten(home: Home) -> None:
    with home.locked():
        home.write_addresses(addresses(home.path))
        assert home.read_addresses() == addresses(home.path)
        home.forget_addresses()
        home.forget_addresses()
        with pytest.raises(ConfigError, match="still starting"):
            home.read_addresses()


def test_addresses_that_are_being_written_are_of_a_mesh_that_is_still_starting(home: Home) -> None:
    with home.locked():
        home.write_addresses(addresses(home.path))
        whole = (home.path / "mesh.json").read_bytes()
        for written in (b"", whole[:20]):
            (home.path / "mesh.json").write_bytes(written)
            with pytest.raises(ConfigError, match="still starting"):
                home.read_addresses()


def test_a_configuration_that_is_not_there_says_what_to_run(home: Home) -> None:
    with pytest.raises(ConfigError, match=f"run: sekisho up --home {home.path}"):
        home.config("gateway")
    home.folder("gateway").mkdir(parents=True)
    (home.folder("gateway") / "config.yaml").touch()
    assert home.config("gateway") == home.path / "gateway" / "config.yaml"


def test_credentials_are_read_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text('{"client_id": "cli_1", "client_secret": "scs_1"}')
    assert read_credentials(file) == ("cli_1", "scs_1")
