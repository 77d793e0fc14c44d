from pathlib import Path

import pytest

from mesh.config import ConfigError, load
from mesh.secret_files import write_private
from shops.config import ShopsConfig, read_credentials
from shops.tokens import Credentials

YAML = """
server: {listen: "127.0.0.1:0", certificate: shops.pem, private_key: shops-key.pem}
database: sqlite:////var/lib/shops.db
gateway: {target: "localhost:8443", ca: ca.pem}
master_credentials: master.json
sealing_key: sealing-key
token_key: token-key
"""


def test_a_configuration_is_read_and_its_paths_are_relative_to_its_file(tmp_path: Path) -> None:
    file = tmp_path / "shops.yaml"
    file.write_text(YAML)
    config = load(file, ShopsConfig)
    assert config.master_credentials == tmp_path / "master.json"
    assert (config.review_poll_seconds, config.review_poll_max_seconds) == (0.5, 30.0)


@pytest.mark.parametrize("line", ["review_poll_seconds: 0", "review_poll_max_seconds: -1", "colour: red"])
def test_a_configuration_that_makes_no_sense_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "shops.yaml"
    file.write_text(YAML + line)
    with pytest.raises(ConfigError):
        load(file, ShopsConfig)


def test_credentials_are_read_from_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "master.json"
    write_private(file, b'{"client_id": "cli_1", "client_secret": "scs_1"}')
    assert read_credentials(file) == Credentials("cli_1", "scs_1")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"client_id": "cli_1"}', b'{"client_id": 1, "client_secret": "s"}'])
def test_a_file_without_credentials_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "master.json"
    write_private(file, content)
    with pytest.raises(ConfigError, match=r"master\.json"):
        read_credentials(file)


def test_credentials_that_others_can_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "master.json"
    write_private(file, b'{"client_id": "cli_1", "client_secret": "scs_1"}')
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        read_credentials(file)
