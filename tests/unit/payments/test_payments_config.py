from pathlib import Path

import pytest

from mesh.config import ConfigError, load
from payments.config import PaymentsConfig

TEXT = """
server: {listen: "localhost:0", certificate: payments.pem, private_key: payments-key.pem, client_ca: ca.pem}
database: sqlite:///payments.db
auth: {target: "localhost:1", ca: ca.pem}
auth_issuer: https://auth.test
statement_issuer: https://payments.test
statement_key: statement-key.pem
"""


def test_the_shortest_configuration_is_read(tmp_path: Path) -> None:
    file = tmp_path / "payments.yaml"
    file.write_text(TEXT)
    config = load(file, PaymentsConfig)
    assert (config.audience, config.fee_basis_points, config.heartbeat_seconds) == ("payments", 250, 30)
    assert config.statement_key == tmp_path / "statement-key.pem"


@pytest.mark.parametrize("fee", ["-1", "10001", "2.5", "many"])
def test_a_fee_that_makes_no_sense_is_refused(tmp_path: Path, fee: str) -> None:
    file = tmp_path / "payments.yaml"
    file.write_text(f"{TEXT}fee_basis_points: {fee}\n")
    with pytest.raises(ConfigError, match="fee_basis_points"):
        load(file, PaymentsConfig)


@pytest.mark.parametrize("seconds", ["0", "-1", "30.1", "often"])
def test_a_watch_is_told_that_it_goes_on_as_often_as_the_contract_promises(tmp_path: Path, seconds: str) -> None:
    file = tmp_path / "payments.yaml"
    file.write_text(f"{TEXT}heartbeat_seconds: {seconds}\n")
    with pytest.raises(ConfigError, match="heartbeat_seconds"):
        load(file, PaymentsConfig)
