"""Watching payments over real mTLS, on both databases."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from sqlalchemy import insert, update

import payments.server
from mesh.calls.error_info import DETAILS_KEY
from mesh.security import tls
from mesh.storage.database import Database
from payments.payment_states import Payment
from payments.store.tables import partners, payment_events
from payments.watches import Watches
from sekisho.payments.v1 import payment_service_pb2 as pb
from sekisho.payments.v1 import payment_service_pb2_grpc as pb_grpc
from sekisho.payments.v1.money_pb2 import Money
from tests.integration.payments_server import (
    PARTNER,
    Metadata,
    as_caller,
    both_servers,
    channel_config,
    charge,
    create_files,
    request_id,
)
from tests.migrated import migrate
from tests.unit.payments.payments_world import World, yen

PATIENCE_SECONDS = 60.0
FOREVER_MS = 10**14

Call: TypeAlias = Any  # grpc.aio's, generic to type checkers only


@dataclass
class Service:
    """The running service as the gateway sees it, and its database as another process does."""

    stub: Any
    world: World
    watches: Watches
    stop: Callable[[], Awaitable[None]]

    def metadata(self, partner_id: str = "") -> Metadata:
        return as_caller(replace(PARTNER, partner_id=partner_id or self.world.partner_id))

    def watch(
        self, cursor: str = "", partner_id: str = "", timeout: float | None = None, *, from_now: bool = False
    ) -> Call:
        request = pb.WatchPaymentsRequest(cursor=cursor, from_now=from_now)
        return self.stub.WatchPayments(request, metadata=self.metadata(partner_id), timeout=timeout)

    async def create(self, minor_units: int = 1) -> pb.Payment:
        """Create a payment by a call."""
        code = await asyncio.to_thread(self.world.code, ttl_ms=FOREVER_MS)
        payment: pb.Payment = await self.stub.CreatePayment(charge(code, minor_units), metadata=self.metadata())
        return payment


async def read(call: Call, count: int) -> list[pb.WatchPaymentsResponse]:
    """Read the next changes; they must come in time."""
    changes: list[pb.WatchPaymentsResponse] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(changes) < count:
            message = await call.read()
            if message.HasField("payment"):
                changes.append(message)
    return changes


async def read_place(call: Call) -> str:
    """Read the next message, which must come in time and say only how far the watch is; return its cursor."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        message = await call.read()
    assert message == pb.WatchPaymentsResponse(cursor=message.cursor)
    assert message.cursor
    return str(message.cursor)


def told(change: pb.WatchPaymentsResponse) -> tuple[pb.Payment, str]:
    """Return the payment of a change, and what it says that happened to it."""
    return change.payment, pb.WatchPaymentsResponse.Change.Name(change.change)


async def refusal(call: Call) -> tuple[grpc.StatusCode, str]:
    """Return how a call ended."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(call, 1)
    details = dict(caught.value.trailing_metadata() or ()).get(DETAILS_KEY, b"")
    info = ErrorInfo()
    for detail in Status.FromString(details if isinstance(details, bytes) else b"").details:
        detail.Unpack(info)
    return caught.value.code(), info.reason


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watch")
    create_files(folder)
    return folder


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    database = Database(database_url)
    migrate(database, "payments")
    yield World(database)
    database.close()


Serve: TypeAlias = Callable[..., Any]


@pytest.fixture
def serve(folder: Path, database_url: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return what runs the service on the event loop of the test, so that the test sees what it leaves there."""
    made: list[Watches] = []

    class SeenWatches(Watches):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(payments.server, "Watches", SeenWatches)

    @asynccontextmanager
    async def served(drain_seconds: float = 1.0, **settings: Any) -> AsyncIterator[Service]:
        servers = both_servers(folder, database_url, drain_seconds, **settings)
        port = await servers.__aenter__()
        stopped = False

        async def stop() -> None:
            nonlocal stopped
            if not stopped:
                stopped = True
                await servers.__aexit__(None, None, None)

        config = channel_config(folder, port, "payments", "gateway")
        # Without the probe, the transport does not grow its window beyond what a client that reads nothing is sent.
        options = [("grpc.ssl_target_name_override", config.server_name), ("grpc.http2.bdp_probe", 0)]
        try:
            async with grpc.aio.secure_channel(config.target, tls.channel_credentials(config), options) as channel:
                yield Service(pb_grpc.PaymentServiceStub(channel), world, made[-1], stop)
        finally:
            await stop()

    return served


def fill(world: World, count: int) -> Payment:
    """Give a payment so many events, all alike."""
    payment = world.create(yen(1))
    rows = [
        {
            "partner_id": world.partner_id,
            "sequence": sequence,
            "payment_id": payment.payment_id,
            "state": "AUTHORIZED",
            "captured": 0,
            "refunded": 0,
            "update_time": sequence,
        }
        for sequence in range(2, count + 1)
    ]
    world.run(lambda connection: connection.execute(insert(payment_events), rows))
    world.run(lambda connection: connection.execute(update(partners).values(event_count=count)))
    return payment


async def test_a_watch_sends_what_was_and_then_what_happens(serve: Serve) -> None:
    async with serve() as service:
        first = await service.create(100)
        watch = service.watch()
        assert list(map(told, await read(watch, 1))) == [(first, "AUTHORIZED")]
        metadata = service.metadata()
        capture = pb.CapturePaymentRequest(request_id=request_id(), payment_id=first.payment_id)
        captured = await service.stub.CapturePayment(capture, metadata=metadata)
        refund = pb.RefundPaymentRequest(request_id=request_id(), payment_id=first.payment_id)
        refunded = await service.stub.RefundPayment(refund, metadata=metadata)
        second = await service.create(7)
        cancel = pb.CancelPaymentRequest(request_id=request_id(), payment_id=second.payment_id)
        canceled = await service.stub.CancelPayment(cancel, metadata=metadata)
        rest = [(captured, "CAPTURED"), (refunded, "REFUNDED"), (second, "AUTHORIZED"), (canceled, "CANCELED")]
        assert list(map(told, await read(watch, 4))) == rest


async def test_a_refund_in_parts_and_a_payment_that_is_captured_at_once_are_one_change_each(serve: Serve) -> None:
    async with serve() as service:
        metadata = service.metadata()
        code = await asyncio.to_thread(service.world.code, ttl_ms=FOREVER_MS)
        steps = [(await service.stub.CreatePayment(charge(code, 3, capture=True), metadata=metadata), "CAPTURED")]
        payment_id = steps[0][0].payment_id
        one_yen = Money(currency_code="JPY", minor_units=1)
        for _ in range(3):
            refund = pb.RefundPaymentRequest(request_id=request_id(), payment_id=payment_id, amount=one_yen)
            steps.append((await service.stub.RefundPayment(refund, metadata=metadata), "REFUNDED"))
        steps.append((await service.create(), "AUTHORIZED"))
        assert list(map(told, await read(service.watch(), 5))) == steps


async def test_a_watch_says_where_it_begins_before_anything_happens(serve: Serve) -> None:
    async with serve() as service:
        watch = service.watch()
        beginning = await read_place(watch)
        first = await service.create()
        (change,) = await read(watch, 1)
        assert change.payment == first
        assert await read(service.watch(beginning), 1) == [change]
        assert await read_place(service.watch(change.cursor)) == change.cursor


async def test_a_watch_from_now_begins_after_the_newest_change(serve: Serve) -> None:
    async with serve() as service:
        before_any = await read_place(service.watch(from_now=True))
        old = [await service.create() for _ in range(3)]
        watch = service.watch(from_now=True)
        beginning = await read_place(watch)
        new = [await service.create() for _ in range(2)]
        changes = await read(watch, 2)
        assert [change.payment for change in changes] == new
        assert await read(service.watch(beginning), 2) == changes
        assert [change.payment for change in await read(service.watch(before_any), 5)] == [*old, *new]


async def test_a_watch_begins_either_now_or_at_a_cursor(serve: Serve) -> None:
    async with serve() as service:
        cursor = await read_place(service.watch())
        refused = await refusal(service.watch(cursor, from_now=True))
        assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_a_watch_without_changes_says_again_and_again_that_it_goes_on(serve: Serve) -> None:
    async with serve(heartbeat_seconds=0.05) as service:
        watch = service.watch()
        beginning = await read_place(watch)
        assert [await read_place(watch) for _ in range(3)] == [beginning] * 3
        await service.create()
        (change,) = await read(watch, 1)
        assert [await read_place(watch) for _ in range(3)] == [change.cursor] * 3


async def test_requests_that_change_nothing_do_not_keep_a_watch_silent(serve: Serve) -> None:
    async with serve(heartbeat_seconds=0.5) as service:
        request = charge(service.world.code(ttl_ms=FOREVER_MS), 5)
        await service.stub.CreatePayment(request, metadata=service.metadata())
        watch = service.watch(from_now=True)
        await read_place(watch)
        silence_ends = asyncio.create_task(read_place(watch))
        while not silence_ends.done():
            await service.stub.CreatePayment(request, metadata=service.metadata())
        await silence_ends


async def test_a_replayed_request_is_no_change(serve: Serve) -> None:
    async with serve() as service:
        request = charge(service.world.code(ttl_ms=FOREVER_MS), 5)
        payment = await service.stub.CreatePayment(request, metadata=service.metadata())
        assert await service.stub.CreatePayment(request, metadata=service.metadata()) == payment
        other = await service.create()
        assert [change.payment for change in await read(service.watch(), 2)] == [payment, other]


async def test_whoever_resumes_by_cursor_misses_nothing_and_sees_nothing_twice(serve: Serve) -> None:
    async with serve() as service:
        chance = random.Random(7)  # noqa: S311 - the same at every run
        creating = [asyncio.create_task(service.create()) for _ in range(40)]
        changes: list[pb.WatchPaymentsResponse] = []
        while len(changes) < len(creating):
            watch = service.watch(changes[-1].cursor if changes else "")
            changes += await read(watch, min(chance.randint(1, 9), len(creating) - len(changes)))
            watch.cancel()
        made = {payment.payment_id for payment in await asyncio.gather(*creating)}
        assert sorted(change.payment.payment_id for change in changes) == sorted(made)
        whole = await read(service.watch(), len(creating))
        assert whole == changes


async def test_changes_that_another_process_commits_are_seen(serve: Serve) -> None:
    async with serve() as service:
        watch = service.watch()
        for _ in range(2):
            payment = await asyncio.to_thread(service.world.create, yen(3))
            (change,) = await read(watch, 1)
            assert change.payment.payment_id == payment.payment_id


async def test_changes_that_this_process_commits_are_sent_without_waiting_for_a_look(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments.server, "_EVENTS_LOOK_SECONDS", 3600)
    async with serve() as service:
        watch = service.watch()
        for _ in range(5):
            payment = await service.create()
            assert (await read(watch, 1))[0].payment == payment


async def test_more_changes_than_one_batch_come_in_order(
    serve: Serve, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments.server, "_EVENTS_LOOK_SECONDS", 3600)
    fill(world, 250)
    async with serve() as service:
        changes = await read(service.watch(), 250)
        assert [change.payment.update_time.ToMilliseconds() for change in changes[1:]] == list(range(2, 251))
        rest = await read(service.watch(changes[199].cursor), 50)
        assert rest == changes[200:]


async def test_a_partner_sees_its_own_payments_only(serve: Serve) -> None:
    async with serve() as service:
        await service.create()
        other = await asyncio.to_thread(service.world.new_partner)
        watch = service.watch(partner_id=other)
        await watch.initial_metadata()
        await service.create()
        service.world.partner_id = other
        its_own = await service.create()
        assert (await read(watch, 1))[0].payment == its_own


async def test_a_cursor_that_is_none_of_the_partners_is_refused(serve: Serve) -> None:
    async with serve() as service:
        for _ in range(2):
            await service.create()
        before = asyncio.all_tasks()
        watch = service.watch()
        cursors = [change.cursor for change in await read(watch, 2)]
        watch.cancel()
        other = await asyncio.to_thread(service.world.new_partner)
        service.world.partner_id, one = other, service.world.partner_id
        await service.create()
        invalid = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        for cursor in cursors:
            assert await refusal(service.watch(cursor, partner_id=other)) == invalid
        for mangled in ("x", cursors[0][:-1], cursors[0] + "=", cursors[0] + cursors[1], "A" * 22):
            assert await refusal(service.watch(mangled, partner_id=one)) == invalid
        await tasks_end(before)
        assert len(service.watches) == 0


async def test_a_cursor_beyond_the_newest_change_is_refused(serve: Serve, world: World) -> None:
    fill(world, 3)
    async with serve() as service:
        last = (await read(service.watch(), 3))[-1].cursor
        world.run(lambda connection: connection.execute(update(partners).values(event_count=2)))
        assert await refusal(service.watch(last)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_a_token_without_the_scope_does_not_watch(serve: Serve) -> None:
    async with serve() as service:
        writer = replace(PARTNER, partner_id=service.world.partner_id, scopes=frozenset({"payments.write"}))
        call = service.stub.WatchPayments(pb.WatchPaymentsRequest(cursor="x"), metadata=as_caller(writer))
        assert await refusal(call) == (grpc.StatusCode.PERMISSION_DENIED, "INSUFFICIENT_SCOPE")


async def tasks_end(before: set[asyncio.Task[Any]]) -> None:
    """Assert that all tasks that were not there before end by themselves."""
    # The server always has a task that waits for the next call, and makes a new one whenever a call comes.
    new = {task for task in asyncio.all_tasks() - before if "_request_registered_call" not in repr(task)}
    if new:
        _, pending = await asyncio.wait(new, timeout=PATIENCE_SECONDS)
        assert not pending


async def test_a_canceled_watch_leaves_nothing_behind(serve: Serve) -> None:
    async with serve() as service:
        await service.create()
        before = asyncio.all_tasks()
        for _ in range(30):  # more than may be open at once
            watch = service.watch()
            await read(watch, 1)
            assert len(service.watches) >= 1
            watch.cancel()
            await tasks_end(before)
            assert len(service.watches) == 0


async def test_a_watch_ends_at_its_deadline(serve: Serve) -> None:
    async with serve() as service:
        await service.create()
        before = asyncio.all_tasks()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await read(service.watch(timeout=0.5), 2)  # there is one
        assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await tasks_end(before)
        assert len(service.watches) == 0


async def test_a_client_that_reads_nothing_costs_no_more_than_what_the_transport_holds(
    serve: Serve, world: World
) -> None:
    count = 20_000
    fill(world, count)
    async with serve() as service, asyncio.timeout(PATIENCE_SECONDS):
        await service.stub.GetBalance(pb.GetBalanceRequest(), metadata=service.metadata())
        before = asyncio.all_tasks()
        stalled = service.watch()
        await stalled.initial_metadata()
        (watch,) = next(iter(service.watches._watches.values()))  # noqa: SLF001 - to see how far it is
        unmoved = 0
        while unmoved < 20:  # calls go on beside it, and are the clock
            position = watch.position
            await service.stub.GetBalance(pb.GetBalanceRequest(), metadata=service.metadata())
            unmoved = unmoved + 1 if position and watch.position == position else 0
        assert watch.position < count
        stalled.cancel()
        await tasks_end(before)
        assert len(service.watches) == 0


async def test_a_partner_that_watches_too_often_is_told(serve: Serve) -> None:
    async with serve() as service:
        before = asyncio.all_tasks()
        watches = [service.watch() for _ in range(20)]
        for watch in watches:
            await watch.initial_metadata()
        assert await refusal(service.watch()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHES")
        other = service.watch(partner_id=await asyncio.to_thread(service.world.new_partner))
        await other.initial_metadata()
        for watch in itertools.chain(watches, [other]):
            watch.cancel()
        await tasks_end(before)
        await service.watch().initial_metadata()


async def test_open_watches_end_at_once_when_the_server_stops(serve: Serve) -> None:
    async with serve(drain_seconds=1000.0) as service, asyncio.timeout(PATIENCE_SECONDS):
        await service.create()
        watches = [service.watch() for _ in range(3)]
        for watch in watches:
            await read(watch, 1)
        stopping = asyncio.create_task(service.stop())
        for watch in watches:
            assert await refusal(watch) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
        await stopping
