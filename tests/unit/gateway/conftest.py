import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import TokenExchange
from mesh.channel import open_channel
from tests.unit.gateway.fake_services import FakeAuthServer, issue_certificates, started


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class World:
    exchange: TokenExchange
    auth: FakeAuthServer
    clock: Clock


Story = Callable[[World], Awaitable[None]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def play(certificates: Path) -> Callable[..., None]:
    """Run a story with an exchange and the auth server that it asks."""

    async def run(story: Story, settings: dict[str, Any]) -> None:
        auth, clock = FakeAuthServer(certificates), Clock()
        async with started(auth), open_channel(auth.channel_config("authserver")) as channel:
            settings = {"capacity": 100, "max_age_seconds": 30.0, **settings}
            await story(World(TokenExchange(channel, clock=clock, **settings), auth, clock))

    return lambda story, **settings: asyncio.run(run(story, settings))
