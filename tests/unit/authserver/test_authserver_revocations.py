"""The watch of revocations, as gateways see it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from authserver.clients.register import Credentials
from authserver.config import AuthServerConfig
from authserver.errors import ReplicaBehind
from authserver.revocation.feed import Feed
from authserver.revocation.store import Change, News, feed_position, forget_before, publish
from authserver.server import running
from authserver.servicers.revocations import RevocationServiceServicer
from mesh.access.revocation import Subject
from mesh.storage.database import Database
from sekisho.auth.v1 import client_registration_service_pb2, partner_access_service_pb2, token_service_pb2
from sekisho.auth.v1 import revocation_service_pb2 as pb
from tests.databases import statements
from tests.unit.authserver.wire import Caller, calling, refusal, registering

PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def watching(caller: Caller, position: int | None = None) -> AsyncIterator[Any]:
    """Watch, and read message by message."""
    call = caller.revocations.WatchRevocations(pb.WatchRevocationsRequest(position=position))
    async with asyncio.timeout(PATIENCE_SECONDS):
        yield call
    call.cancel()


async def read_revocations(call: Any, count: int) -> list[pb.Revocation]:
    """Read until so many revocations have come, each in a message that is said to reach as far."""
    found: list[pb.Revocation] = []
    while len(found) < count:
        message = await call.read()
        found += message.revocations
        assert not found or message.position >= found[-1].position
    assert len(found) == count
    return found


def tell(database: Database, *news: News, now_ms: int = 1) -> int:
    """Publish as another replica does; return the position."""

    def work(connection: Any) -> int:
        publish(connection, news, now_ms)
        return feed_position(connection)

    return database.run_here(work)


async def test_a_watch_says_at_once_how_far_it_has_come_and_then_that_it_is_alive(
    gateway: Caller, database: Database
) -> None:
    head = tell(database, News(Subject.CLIENT, "before"))
    async with watching(gateway) as call:
        assert [await call.read() for _ in range(3)] == [pb.WatchRevocationsResponse(position=head)] * 3


async def test_each_revocation_on_the_wire_is_told(gateway: Caller, payments: Caller, shops: Credentials) -> None:
    master = await gateway.as_client(shops)
    registered = await gateway.registrations.RegisterClient(registering(), metadata=master)
    client_id = registered.client.client_id
    async with watching(gateway) as call:
        own = {"client_id": shops.client.client_id, "client_secret": shops.client_secret}
        token = await gateway.token(shops)
        await gateway.tokens.RevokeToken(token_service_pb2.RevokeTokenRequest(token=token, **own))
        (revoked,) = await read_revocations(call, 1)
        assert revoked.token_digest == hashlib.sha256(token.encode()).digest()
        rotate = client_registration_service_pb2.RotateClientSecretRequest(client_id=client_id)
        await gateway.registrations.RotateClientSecret(rotate, metadata=master)
        (revoked,) = await read_revocations(call, 1)
        assert revoked.client_id == client_id
        await payments.partners.BlockPartner(partner_access_service_pb2.BlockPartnerRequest(partner_id="ptr_1"))
        (revoked,) = await read_revocations(call, 1)
        assert revoked.partner_id == "ptr_1"


async def test_what_another_replica_revokes_is_told_in_order_and_changes_are_not(
    gateway: Caller, database: Database
) -> None:
    async with watching(gateway) as call:
        start = (await call.read()).position
        tell(database, News(Change.CLIENT_CHANGED, "cli_1"), News(Subject.PLATFORM, "shops"))
        tell(database, News(Change.KEYS_CHANGED, ""), News(Subject.CLIENT, "cli_2"))
        end = tell(database, News(Subject.EVERYTHING, ""))
        assert await read_revocations(call, 3) == [
            pb.Revocation(position=start + 2, platform_id="shops"),
            pb.Revocation(position=start + 4, client_id="cli_2"),
            pb.Revocation(position=end, everything=True),
        ]


async def test_a_change_moves_the_position_though_nothing_is_revoked(gateway: Caller, database: Database) -> None:
    async with watching(gateway) as call:
        await call.read()
        changed = tell(database, News(Change.CLIENT_CHANGED, "cli_1"))
        while (message := await call.read()).position < changed:
            assert not message.revocations
        assert message == pb.WatchRevocationsResponse(position=changed)


async def test_who_resumes_is_told_what_came_meanwhile_however_much(gateway: Caller, database: Database) -> None:
    start = tell(database, News(Subject.CLIENT, "before"))
    clients = [f"cli_{number}" for number in range(1200)]
    end = tell(database, *(News(Subject.CLIENT, client_id) for client_id in clients))
    async with watching(gateway, start) as call:
        revoked = await read_revocations(call, len(clients))
        assert [each.client_id for each in revoked] == clients
        assert (revoked[0].position, revoked[-1].position) == (start + 1, end)
        assert await call.read() == pb.WatchRevocationsResponse(position=end)


@pytest.mark.parametrize("position", [0, 1, -5, 2**40])
async def test_who_resumes_where_nothing_is_known_is_told_that_everything_is_revoked(
    gateway: Caller, database: Database, position: int
) -> None:
    """Before what is kept, or beyond what there is: so it is when a backup was restored."""

    tell(database, News(Subject.CLIENT, "old"), now_ms=1)
    head = tell(database, News(Subject.CLIENT, "new"), now_ms=2)
    database.run_here(lambda connection: forget_before(connection, 2))
    async with watching(gateway, position) as call:
        everything = pb.Revocation(position=head, everything=True)
        assert await call.read() == pb.WatchRevocationsResponse(position=head, revocations=[everything])
        assert await call.read() == pb.WatchRevocationsResponse(position=head)


async def test_only_the_gateway_may_watch(payments: Caller) -> None:
    async with watching(payments) as call:
        assert await refusal(call.read()) == ("PERMISSION_DENIED", "WORKLOAD_NOT_ALLOWED")


async def test_watches_end_at_once_when_the_server_stops(config: AuthServerConfig, certificates: Path) -> None:
    patient = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, drain_seconds=60.0))

    serving = AsyncExitStack()
    server = await serving.enter_async_context(running(patient))
    async with calling(certificates, server.port, "gateway") as gateway, asyncio.timeout(PATIENCE_SECONDS):
        calls = [gateway.revocations.WatchRevocations(pb.WatchRevocationsRequest()) for _ in range(3)]
        for call in calls:
            await call.read()
        await serving.aclose()
        for call in calls:
            assert await refusal(read_revocations(call, 1)) == ("UNAVAILABLE", "SERVER_STOPPING")


class Gateway:
    """A gateway, in place of a call's context: it takes what is written. And a feed whose clock is set by hand."""

    def __init__(self, database: Database) -> None:
        self.now = 0.0
        self.feed = Feed(database, self.tick)
        self.servicer = RevocationServiceServicer(database, self.feed)
        self.written: list[pb.WatchRevocationsResponse] = []
        self.arrived = asyncio.Queue[pb.WatchRevocationsResponse]()
        self.asked = asyncio.Queue[bool]()
        is_current = self.feed.is_current

        def recording() -> bool:
            answer = is_current()
            self.asked.put_nowait(answer)
            return answer

        self.feed.is_current = recording  # type: ignore[method-assign]

    def tick(self) -> float:
        self.now += 0.0001
        return self.now

    async def write(self, message: pb.WatchRevocationsResponse) -> None:
        self.written.append(message)
        self.arrived.put_nowait(message)

    @asynccontextmanager
    async def watching(self, position: int | None = None) -> AsyncIterator[None]:
        request = pb.WatchRevocationsRequest(position=position)
        watch = asyncio.create_task(self.servicer.WatchRevocations(request, self))  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
        watch.cancel()
        await asyncio.wait([watch])

    async def until_asked(self, *, current: bool) -> None:
        """Wait until the watch has asked twice whether the feed is current, and done what follows from it."""
        while not self.asked.empty():
            self.asked.get_nowait()
        for _ in range(2):
            while await self.asked.get() is not current:
                pass


async def test_while_a_server_can_not_follow_the_feed_it_sends_no_sign_of_life(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authserver.servicers.revocations._HEARTBEAT_SECONDS", 0.01)

    gateway = Gateway(database)
    async with gateway.watching():
        await gateway.until_asked(current=True)
        gateway.now += 1
        await gateway.until_asked(current=False)
        before = len(gateway.written)
        await gateway.until_asked(current=False)
        assert len(gateway.written) == before
        await gateway.feed.follow()
        await gateway.until_asked(current=True)
        assert len(gateway.written) > before


async def test_a_server_that_knows_more_than_its_database_takes_no_watch(database: Database) -> None:
    gateway = Gateway(database)
    await gateway.feed.follow()
    gateway.feed.position += 5
    with pytest.raises(ReplicaBehind):
        await gateway.servicer.WatchRevocations(pb.WatchRevocationsRequest(), gateway)  # type: ignore[arg-type]
    assert gateway.written == []


async def test_a_watch_asks_the_database_only_for_news(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authserver.servicers.revocations._HEARTBEAT_SECONDS", 0.01)

    gateway = Gateway(database)
    async with gateway.watching():
        await gateway.until_asked(current=True)
        with statements(database) as sent:
            await gateway.until_asked(current=True)
        assert sent == []


async def test_a_watch_that_is_ahead_of_its_server_neither_spins_nor_repeats(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads from the database what the server hears of a moment later."""
    monkeypatch.setattr("authserver.servicers.revocations._HEARTBEAT_SECONDS", 60)

    gateway = Gateway(database)
    later = [News(Subject.CLIENT, "b")]  # written as the server hears of the first
    gateway.feed.listen(lambda _: later and tell(database, later.pop()))
    async with gateway.watching():
        start = (await gateway.arrived.get()).position
        tell(database, News(Subject.CLIENT, "a"))
        await gateway.feed.follow()
        both = await gateway.arrived.get()
        assert [each.client_id for each in both.revocations] == ["a", "b"]
        assert (gateway.feed.position, both.position) == (start + 1, start + 2)
        for _ in range(20):
            await database.read(feed_position)
        assert gateway.arrived.empty()
        await gateway.feed.follow()
        assert await gateway.arrived.get() == pb.WatchRevocationsResponse(position=start + 2)
