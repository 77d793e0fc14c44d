from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mesh.storage.database import Database
from tests.migrated import migrate
from tests.unit.shops.fake_gateway import FakeGateway, issue_certificates
from tests.unit.shops.marketplace import Marketplace, marketplace_on, running_gateway


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    issue_certificates(folder)
    return folder


@pytest.fixture
def database_url(database_url: str) -> str:
    """Return the URL of a fresh database that has the marketplace's tables; the test runs once on each kind."""
    database = Database(database_url)
    migrate(database, "shops")
    database.close()
    return database_url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
async def gateway(certificates: Path) -> AsyncIterator[FakeGateway]:
    """Run a payment company."""
    async with running_gateway(certificates) as gateway:
        yield gateway


@pytest.fixture
async def marketplace(database_url: str, gateway: FakeGateway) -> AsyncIterator[Marketplace]:
    """Run a marketplace that pays through that company."""
    async with marketplace_on(database_url, gateway) as marketplace:
        yield marketplace
