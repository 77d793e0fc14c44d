from collections.abc import Iterator

import pytest

from mesh.database import Database
from mesh.migrations import upgrade
from tests.unit.authserver.company import Company


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.run_here(lambda connection: upgrade(connection, "authserver"))
    yield database
    database.close()


@pytest.fixture
def company(database: Database) -> Company:
    return Company(database)
