from pathlib import Path

import pytest

from tests.unit.gateway.fake_services import issue_certificates


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("soak"))
