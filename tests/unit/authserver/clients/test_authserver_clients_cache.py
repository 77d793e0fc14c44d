import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from authserver.clients.blocking import block, revoke, unblock
from authserver.clients.cache import ClientCache, Found
from authserver.revocation.store import Change, News, publish
from mesh.access.revocation import HOLDERS, Subject
from mesh.storage.database import Database, DatabaseUnavailable
from tests.databases import statements
from tests.unit.authserver.company import Company, Replica, approval

PATIENCE_SECONDS = 60.0


class Clients:
    """A replica whose clock is set by hand, and four clients: two of a partner, one of another, one of elsewhere."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.now = 0.0
        self.replica = Replica(company, monotonic=self.tick)
        registered = {
            "tea": company.register(),
            "more tea": company.register(statement=approval("app_2")),
            "coffee": company.register(statement=approval("app_3", partner_id="ptr_2")),
            "elsewhere": company.register(
                "stalls", statement=approval("app_4", partner_id="ptr_3", platform_id="stalls")
            ),
        }
        self.ids = {name: credentials.client.client_id for name, credentials in registered.items()}

    def tick(self) -> float:
        self.now += 0.0001
        return self.now

    async def known(self) -> set[str]:
        """Return who is in memory."""
        found = {name: await self.replica.clients.find(client_id) for name, client_id in self.ids.items()}
        return {name for name, each in found.items() if each.from_memory}

    async def know_all(self) -> None:
        await self.replica.feed.follow()
        await self.known()
        assert await self.known() == set(self.ids)


@pytest.fixture
def clients(company: Company) -> Clients:
    return Clients(company)


async def test_a_client_is_asked_for_once_and_then_known(clients: Clients) -> None:
    await clients.replica.feed.follow()
    cache, client_id = clients.replica.clients, clients.ids["tea"]
    first = await cache.find(client_id)
    with statements(clients.company.database) as sent:
        second = await cache.find(client_id)
    assert sent == []
    assert (first.from_memory, second.from_memory) == (False, True)
    assert first.client == second.client
    assert first.client is not None
    assert first.client.client_id == client_id
    assert first.position == second.position == clients.replica.feed.position


async def test_who_is_not_there_is_never_known(clients: Clients) -> None:
    await clients.replica.feed.follow()
    for _ in range(2):
        found = await clients.replica.clients.find("cli_unknown")
        assert found == Found(None, clients.replica.feed.position, from_memory=False)


async def test_memory_stands_for_the_database_only_while_the_feed_is_current(clients: Clients) -> None:
    await clients.know_all()
    clients.now += 0.6
    assert await clients.known() == set()
    await clients.replica.feed.follow()
    assert await clients.known() == set(clients.ids)


async def test_without_the_database_nobody_is_known_for_longer_than_the_feed_is_current(clients: Clients) -> None:
    async def fail(_: object) -> None:
        raise DatabaseUnavailable("gone")

    await clients.know_all()
    clients.company.database.read = fail  # type: ignore[method-assign, assignment]
    assert await clients.known() == set(clients.ids)
    clients.now += 0.6
    with pytest.raises(DatabaseUnavailable):
        await clients.known()


EVERYONE = {"tea", "more tea", "coffee", "elsewhere"}


@pytest.mark.parametrize(
    ("kind", "subject", "forgotten"),
    [
        (Subject.CLIENT, lambda clients: clients.ids["tea"], {"tea"}),
        (Change.CLIENT_CHANGED, lambda clients: clients.ids["tea"], {"tea"}),
        (Subject.CLIENT, lambda _: "cli_unknown", set()),
        (Subject.PARTNER, lambda _: "ptr_1", {"tea", "more tea"}),
        (Change.PARTNER_CHANGED, lambda _: "ptr_1", {"tea", "more tea"}),
        (Subject.PARTNER, lambda _: "ptr_9", set()),
        (Subject.PLATFORM, lambda _: "shops", {"tea", "more tea", "coffee"}),
        (Change.PLATFORM_CHANGED, lambda _: "stalls", {"elsewhere"}),
        (Subject.EVERYTHING, lambda _: "", EVERYONE),
        (Subject.TOKEN, lambda _: "00" * 32, set()),
        (Change.KEYS_CHANGED, lambda _: "", set()),
    ],
)
async def test_news_makes_those_forgotten_whom_it_is_about(
    clients: Clients, kind: Subject | Change, subject: Callable[[Clients], str], forgotten: set[str]
) -> None:
    await clients.know_all()
    clients.company.run(lambda connection: publish(connection, [News(kind, subject(clients))], 1))
    await clients.replica.feed.follow()
    assert EVERYONE - await clients.known() == forgotten


@pytest.mark.parametrize("holder", list(HOLDERS))
async def test_who_was_blocked_and_unblocked_is_known_as_it_is(clients: Clients, holder: Subject) -> None:
    company = clients.company
    subject = {Subject.CLIENT: clients.ids["tea"], Subject.PARTNER: "ptr_1", Subject.PLATFORM: "shops"}[holder]
    args = (company.trail, "operator:test", holder, subject)

    async def known() -> tuple[bool, int]:
        await clients.replica.feed.follow()
        await clients.replica.clients.find(clients.ids["tea"])
        found = await clients.replica.clients.find(clients.ids["tea"])
        assert found.from_memory
        assert found.client is not None
        return found.client.blocked, sum(msgspec.structs.astuple(found.client.epochs))

    assert await known() == (False, 0)
    company.run(lambda connection: block(connection, *args, company.now_ms))
    assert await known() == (True, 1)
    company.run(lambda connection: unblock(connection, *args))
    assert await known() == (False, 2)
    company.run(lambda connection: revoke(connection, *args))
    assert await known() == (False, 3)


class SlowDatabase:
    """A database whose answers, once made, are held back until they are let go one by one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.held: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        found = await self._database.read(work)
        go = asyncio.Event()
        self.held.put_nowait(go)
        await go.wait()
        return found


async def test_a_slow_read_never_puts_back_what_was_revoked_meanwhile(clients: Clients) -> None:
    company, feed, client_id = clients.company, clients.replica.feed, clients.ids["tea"]
    slow = SlowDatabase(company.database)
    cache = ClientCache(slow, feed, 10)  # type: ignore[arg-type]

    await feed.follow()
    early = asyncio.create_task(cache.find(client_id))
    let_early_go = await slow.held.get()  # it has read the client as it was
    company.rotate(client_id)
    await feed.follow()
    let_early_go.set()
    old = await early
    assert old.position < feed.position  # so nobody else keeps it either
    late = asyncio.create_task(cache.find(client_id))
    (await slow.held.get()).set()  # it is not in memory
    new = await late
    assert old.client is not None
    assert new.client is not None
    assert (old.client.epochs.client, new.client.epochs.client) == (0, 1)
    assert (await cache.find(client_id)).client == new.client


async def test_a_slow_read_that_overtakes_nothing_is_forgotten_as_soon_as_the_news_comes(clients: Clients) -> None:
    """Two reads end in the wrong order, before this replica has heard of what lies between them."""
    company, feed, client_id = clients.company, clients.replica.feed, clients.ids["tea"]
    slow = SlowDatabase(company.database)
    cache = ClientCache(slow, feed, 10)  # type: ignore[arg-type]

    await feed.follow()
    before = feed.position
    early = asyncio.create_task(cache.find(client_id))
    let_early_go = await slow.held.get()
    company.rotate(client_id)
    late = asyncio.create_task(cache.find(client_id))
    (await slow.held.get()).set()
    new = await late
    let_early_go.set()
    old = await early
    assert (old.position, new.position) == (before, before + 1)
    # What is in memory is said to hold at the position before the news, at which it did.
    assert (await cache.find(client_id)).position == before
    await feed.follow()
    again = asyncio.create_task(cache.find(client_id))
    (await slow.held.get()).set()
    assert (await again).client == new.client


async def test_the_least_recently_used_goes_first(clients: Clients) -> None:
    replica = Replica(clients.company, capacity=2)
    first, second, third, _ = clients.ids.values()

    async def from_memory(client_id: str) -> bool:
        return (await replica.clients.find(client_id)).from_memory

    await replica.feed.follow()
    for client_id in (first, second):
        await replica.clients.find(client_id)
    assert await from_memory(first)
    assert not await from_memory(third)  # in the place of the second
    assert await from_memory(first)
    assert await from_memory(third)
    assert not await from_memory(second)
