"""A migrated database, and the actors of a payment in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.database import Database
from mesh.migrations import upgrade
from tests.unit.payments.payments_world import World


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/payments.db")
    database.run_here(lambda connection: upgrade(connection, "payments"))
    yield database
    database.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
