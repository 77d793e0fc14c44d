import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import TokenExchange
from gateway.exchange_cache import ExchangeCache
from mesh.channels.channel import open_channel
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
    cache: ExchangeCache
    auth: FakeAuthServer
    clock: Clock


Story = Callable[[World], Awaitable[None]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def play(certificates: Path) -> Callable[..., None]:
    """Run a story with an exchange and the auth server that it asks; what is revoked, the story tells the cache."""

    async def run(story: Story, settings: dict[str, Any]) -> None:
        auth, clock = FakeAuthServer(certificates), Clock()
        async with started(auth), open_channel(auth.channel_config("authserver")) as channel:
            cache = ExchangeCache(**{"capacity": 100, "grace_seconds": 1_000.0, "clock": clock, **settings})
            cache.hear(auth.position, [])
            await story(World(TokenExchange(channel, cache, clock), cache, auth, clock))

    return lambda story, **settings: asyncio.run(run(story, settings))
