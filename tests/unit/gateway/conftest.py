from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import TIMEOUT_SECONDS, ExchangeClient
from gateway.exchange_cache import ExchangeCache
from mesh.channels.channel import open_channel
from tests.unit.gateway.fake_services import FakeAuthServer, issue_certificates, started
from tests.unit.gateway.front import HASTY_SECONDS


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class World:
    """An exchange with all that it meets.

    Attributes:
        exchange: What is tested.
        hasty: The same, but that it does not wait for an auth server that does not answer.
        cache: Of both.
        auth: Whom they ask.
        clock: Of all.

    """

    exchange: ExchangeClient
    hasty: ExchangeClient
    cache: ExchangeCache
    auth: FakeAuthServer
    clock: Clock


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def world_of(certificates: Path, **settings: Any) -> AsyncIterator[World]:
    """Run an exchange and the auth server that it asks; what is revoked, the test tells the cache."""
    auth, clock = FakeAuthServer(certificates), Clock()
    async with started(auth), open_channel(auth.channel_config("authserver")) as channel:
        cache = ExchangeCache(**{"capacity": 100, "grace_seconds": 1_000.0, "clock": clock, **settings})
        cache.hear(auth.position, [])
        exchange, hasty = (
            ExchangeClient(channel, cache, clock, seconds) for seconds in (TIMEOUT_SECONDS, HASTY_SECONDS)
        )
        yield World(exchange, hasty, cache, auth, clock)


@pytest.fixture
async def world(certificates: Path) -> AsyncIterator[World]:
    async with world_of(certificates) as world:
        yield world
