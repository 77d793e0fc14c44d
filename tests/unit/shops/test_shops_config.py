from pathlib import Path

import pytest

from mesh.config import ConfigError, load
from shops.config import ShopsConfig

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
