import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from mesh.storage.database import Database
from mesh.storage.migrations import upgrade
from tests.unit.shops.fake_gateway import FakeGateway, issue_certificates
from tests.unit.shops.marketplace import Marketplace, marketplace_on, running_gateway

Story = Callable[[Marketplace, FakeGateway], Awaitable[None]]


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
def play(certificates: Path, database_url: str) -> Callable[[Story], None]:
    """Run a story of one marketplace and one payment company."""

    async def run(story: Story) -> None:
        async with running_gateway(certificates) as gateway, marketplace_on(database_url, gateway) as marketplace:
            await story(marketplace, gateway)

    return lambda story: asyncio.run(run(story))
