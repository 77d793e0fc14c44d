from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.database import Database
from mesh.migrations import upgrade
from tests.unit.authserver.company import Company


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "authserver.db"


@pytest.fixture
def database(database_file: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{database_file}")
    database.run_here(lambda connection: upgrade(connection, "authserver"))
    yield database
    database.close()


@pytest.fixture
def company(database: Database) -> Company:
    return Company(database)
