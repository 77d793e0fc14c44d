"""Two auth servers and two gateways on one PostgreSQL, real processes, with ways between them that a test may cut."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import make_url

from authserver.config import AuthServerConfig
from bench.fleet import Fleet, fleet, free_address
from bench.replicas import Replica, bearer, start_payments, start_replica
from mesh.calls.error_info import read_error_info
from mesh.config import load
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from sekisho.payments.v1 import payment_service_pb2_grpc as payment_grpc
from tests.tcp_proxy import TcpProxy, proxied

GRACE_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
OK = ("OK", "")

Shop = tuple[str, str]


@dataclass
class Scene:
    """The replicas `a` and `b`. The gateway of `b` takes the word of nobody for longer than the grace.

    Attributes:
        processes: All that runs.
        a: What nothing happens to; payments calls its auth server.
        b: What the test may trouble.
        way: From the gateway of `b` to its auth server.
        to_database: From the auth server of `b` to the database.
        port_of_a: Where the auth server of `a` listens.

    """

    processes: Fleet
    a: Replica
    b: Replica
    way: TcpProxy
    to_database: TcpProxy
    port_of_a: int

    async def settled(self) -> None:
        """Wait until both gateways hear of revocations."""
        await eventually(lambda: self.hears(self.a))
        await eventually(lambda: self.hears(self.b))

    async def hears(self, replica: Replica) -> bool:
        """Return what a gateway's health says of the revocations."""
        stub: Any = health_pb2_grpc.HealthStub(replica.gateway.channel)
        request = health_pb2.HealthCheckRequest(service="sekisho.gateway.Revocations")
        reply = await stub.Check(request, timeout=PATIENCE_SECONDS)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async def is_deaf(self) -> bool:
        """Return whether the gateway of `b` hears of no revocations."""
        return not await self.hears(self.b)

    async def lets_in(self, token: str) -> bool:
        """Return whether the gateway of `b` lets a token pass."""
        return await outcome(self.b.list_payments(token)) == OK

    async def outcomes(self, tokens: Sequence[str]) -> set[tuple[str, str]]:
        """Call through both gateways with each token, a few calls at a time; return how that ended."""
        calls = iter([(each, token) for each in (self.a, self.b) for token in tokens])
        found = set[tuple[str, str]]()

        async def caller() -> None:
            for each, token in calls:
                found.add(await outcome(each.list_payments(token)))

        await asyncio.gather(*(caller() for _ in range(8)))
        return found

    @contextmanager
    def turned_to_a(self) -> Iterator[None]:
        """Let the gateway of `b` find the auth server of `a`."""
        behind = self.way.target
        self.way.turn(self.port_of_a)
        try:
            yield
        finally:
            self.way.turn(behind)

    @contextmanager
    def way_cut(self) -> Iterator[None]:
        self.way.closed = True
        self.way.cut()
        try:
            yield
        finally:
            self.way.closed = False

    @contextmanager
    def way_half_open(self) -> Iterator[None]:
        self.way.dead = True
        self.way.swallow()
        try:
            yield
        finally:
            self.way.dead = False

    @contextmanager
    def auth_server_frozen(self) -> Iterator[None]:
        os.kill(self.b.auth.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.b.auth.pid, signal.SIGCONT)

    @contextmanager
    def database_slow(self) -> Iterator[None]:
        self.to_database.hold()
        try:
            yield
        finally:
            self.to_database.release()

    @contextmanager
    def database_gone(self) -> Iterator[None]:
        self.to_database.closed = True
        self.to_database.cut()
        try:
            yield
        finally:
            self.to_database.closed = False


async def outcome(call: Awaitable[object]) -> tuple[str, str]:
    """Return status and reason that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, read_error_info(error)[0]
    return OK


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            pass


@dataclass
class Ending:
    """How a stream ended, and when."""

    outcome: tuple[str, str]
    at: float


@asynccontextmanager
async def watching(replica: Replica, token: str) -> AsyncIterator[asyncio.Task[Ending]]:
    """Open a stream of payments; the task returns how it ended."""
    stub = payment_grpc.PaymentServiceStub(replica.gateway.channel)
    call: Any = stub.WatchPayments(payment_pb.WatchPaymentsRequest(from_now=True), metadata=bearer(token))
    assert (await call.read()).cursor

    async def read_on() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await call.read() is not grpc.aio.EOF:
                pass

    async def ending() -> Ending:
        return Ending(await outcome(read_on()), time.perf_counter())

    task = asyncio.create_task(ending())
    try:
        yield task
    finally:
        task.cancel()
        call.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def scene(databases: str) -> AsyncIterator[Scene]:
    """Run all.

    Args:
        databases: The URL of the services' databases, as the command line takes it; a server on a Unix socket.

    """
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(fleet(databases))
        url = make_url(processes.home.database("authserver"))
        to_database = await stack.enter_async_context(proxied(f"{url.query['host']}/.s.PGSQL.5432"))
        by_proxy = url.set(host="127.0.0.1", port=to_database.port, query={})
        address = free_address()
        way = await stack.enter_async_context(proxied(port_of(address)))
        known_to_payments = load(processes.home.config("authserver"), AuthServerConfig).server.listen
        a, b = await asyncio.gather(
            start_replica(processes, known_to_payments),
            start_replica(
                processes,
                address,
                way=f"127.0.0.1:{way.port}",
                database=by_proxy.render_as_string(hide_password=False),
                revocation_grace_seconds=GRACE_SECONDS,
            ),
        )
        await start_payments(processes)
        yield Scene(processes, a, b, way, to_database, port_of(known_to_payments))


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])
