from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from mesh.security import pki
from mesh.storage.database import Database
from tests.logs import captured


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a company's CA with three workloads, and another company's CA with a workload of the same name."""
    folder = tmp_path_factory.mktemp("certificates")
    company = pki.create_authority(folder, "company")
    for workload in ("backend", "gateway", "payments"):
        pki.issue_workload(company, folder, workload)
    pki.issue_public(company, folder, "public")
    stranger = folder / "stranger"
    stranger.mkdir()
    pki.issue_workload(pki.create_authority(stranger, "company"), stranger, "gateway")
    return folder


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    yield database
    database.close()


@pytest.fixture
def log_lines() -> Iterator[list[MutableMapping[str, Any]]]:
    with captured() as lines:
        yield lines
