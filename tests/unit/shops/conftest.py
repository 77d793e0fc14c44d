import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from mesh.database import Database
from mesh.migrations import upgrade
from tests.unit.shops.fake_gateway import FakeGateway, issue_certificates
from tests.unit.shops.marketplace import Marketplace, marketplace_on, running_gateway

Story = Callable[[Marketplace, FakeGateway], Awaitable[None]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    issue_certificates(folder)
    return folder


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "shops.db"


@pytest.fixture
def database(database_file: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{database_file}")
    database.run_here(lambda connection: upgrade(connection, "shops"))
    yield database
    database.close()


@pytest.fixture
def play(certificates: Path, database_file: Path) -> Callable[[Story], None]:
    """Run a story of one marketplace and one payment company."""

    async def run(story: Story) -> None:
        async with running_gateway(certificates) as gateway, marketplace_on(database_file, gateway) as marketplace:
            await story(marketplace, gateway)

    return lambda story: asyncio.run(run(story))
