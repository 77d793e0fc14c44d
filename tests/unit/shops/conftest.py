from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mesh.database import Database
from mesh.migrations import upgrade
from tests.unit.shops.fake_gateway import FakeGateway, issue_certificates
from tests.unit.shops.marketplace import Marketplace, marketplace_on, running_gateway


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    issue_certificates(folder)
    return folder


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.run_here(lambda connection: upgrade(connection, "shops"))
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
