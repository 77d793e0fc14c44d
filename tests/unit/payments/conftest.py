"""A migrated database, and the actors of a payment in it."""

from collections.abc import Iterator

import pytest

from mesh.storage.database import Database
from tests.migrated import migrate
from tests.unit.payments.payments_world import World


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    migrate(database, "payments")
    yield database
    database.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
