from pathlib import Path

import pytest

from mesh.config import ConfigError
from mesh.security.secret_files import write_private
from shops.credentials import Credentials, read_credentials


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
