"""A migrated database, and the actors of a payment in it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from mesh.database import Database
from mesh.migrations import upgrade
from tests.unit.payments.payments_world import World


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.run_here(lambda connection: upgrade(connection, "payments"))
    yield database
    database.close()


@pytest.fixture
def new_database_url(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], str]:
    """Return what makes further empty databases, of the kind that the test runs on."""
    if make_url(database_url).get_backend_name() == "sqlite":
        numbers = itertools.count(1)
        return lambda: f"sqlite:///{tmp_path}/further-{next(numbers)}.db"
    create: Callable[[], str] = request.getfixturevalue("postgresql_url")
    return create


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
