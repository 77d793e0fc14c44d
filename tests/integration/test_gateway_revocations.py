"""The gateway hears of revocations, or does not: the way to the auth server is cut, goes dead, or says nothing."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from gateway.server import running
from mesh.calls.error_info import read_error_info
from tests.tcp_proxy import TcpProxy, proxied
from tests.unit.gateway.fake_services import FakeAuthServer, Reply, Request, issue_certificates, partner_reply, started
from tests.unit.gateway.front import PARTNER_METHOD, TOKEN, Front, Status, gateway_config, listener, outcome
from tests.unit.gateway.stream_front import StreamBackend

WATCH = "/sekisho.payments.v1.PaymentService/WatchPayments"
OTHER = "sat_other"
OK, REVOKED = (Status.OK, ""), (Status.UNAUTHENTICATED, "TOKEN_REVOKED")
INVALID, UNKNOWN = (Status.UNAUTHENTICATED, "INVALID_TOKEN"), (Status.UNAVAILABLE, "REVOCATIONS_UNKNOWN")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
PATIENCE_SECONDS = 60.0

pytestmark = pytest.mark.timeout(PATIENCE_SECONDS)


@dataclass
class Scene:
    """A gateway whose way to the auth server is in the test's hands."""

    auth: FakeAuthServer
    backend: StreamBackend
    way: TcpProxy
    front: Front

    async def call(self, token: str = TOKEN) -> tuple[Status, str]:
        try:
            await self.front.call(b"hello", token=token)
        except grpc.aio.AioRpcError as error:
            return error.code(), read_error_info(error)[0]
        return OK

    @asynccontextmanager
    async def watch(self, token: str = TOKEN) -> AsyncIterator[asyncio.Task[tuple[Status, str]]]:
        """Open a stream; the task returns how it ended."""
        call = self.front.channel.unary_stream(WATCH)(b"", metadata=[("authorization", f"Bearer {token}")])
        assert await call.read() == b"begun"
        task = asyncio.create_task(outcome(_rest(call)))
        try:
            yield task
        finally:
            task.cancel()
            call.cancel()
            await asyncio.wait([task])

    async def health(self, door: int = 0) -> tuple[int, int]:
        """Return what a door says of itself and of the revocations."""
        async with self.front.door(door) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            names = ("", "sekisho.gateway.Revocations")
            overall, revocations = [
                (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status for name in names
            ]
        return overall, revocations

    async def asked(self, calls: int, token: str = TOKEN) -> int:
        """Return how often the auth server is asked for a number of calls."""
        before = len(self.auth.requests)
        for _ in range(calls):
            assert await self.call(token) == OK
        return len(self.auth.requests) - before

    def watched_from_where_it_was(self) -> bool:
        """Say whether all watches but the first went on where it was; on a busy machine there may be more of them."""
        first, *others = self.auth.watched
        return first is None and set(others) == {7}

    async def keeps_exchanges(self) -> None:
        """Wait until the gateway keeps exchanges."""
        while await self.asked(2):
            pass


async def _rest(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def begin(context: Any) -> None:
    """Answer a unary call, and a stream for ever."""
    await context.read()
    await context.write(b"begun")
    if context.time_remaining() is None:
        await asyncio.Event().wait()


def reply(request: Request) -> Reply | grpc.StatusCode:
    """Answer as ever; OTHER is of another partner and another platform."""
    answer = partner_reply(request)
    if isinstance(answer, Reply) and request.subject_token == OTHER:
        answer.partner_id, answer.platform_id = "ptn_2", "rival"
    return answer


@asynccontextmanager
async def scene_of(folder: Path, *, silent: bool = False, **settings: Any) -> AsyncIterator[Scene]:
    auth, backend = FakeAuthServer(folder), StreamBackend(folder)
    auth.silent, auth.reply, backend.handle = silent, reply, begin
    async with started(auth), started(backend), proxied(auth.port) as way:
        to_auth = msgspec.structs.replace(auth.channel_config("authserver"), target=f"127.0.0.1:{way.port}")
        config = msgspec.structs.replace(gateway_config(auth, backend, **settings), auth=to_auth)
        async with running(config) as servers:
            front = Front(auth, backend, servers, channel=None)  # type: ignore[arg-type]
            async with front.door(0) as front.channel:
                yield Scene(auth, backend, way, front)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("revocations"))


@asynccontextmanager
async def hearing(folder: Path, **settings: Any) -> AsyncIterator[Scene]:
    """Run a gateway that hears of revocations."""
    async with scene_of(folder, **settings) as scene:
        await scene.keeps_exchanges()
        yield scene


@pytest.fixture
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with hearing(folder) as scene:
        yield scene


OF_TOKEN: list[dict[str, Any]] = [
    {"token_digest": hashlib.sha256(TOKEN.encode()).digest()},
    {"client_id": "client-of-partner"},
    {"partner_id": "ptn_1"},
    {"platform_id": "shops"},
]


@pytest.mark.parametrize("subject", OF_TOKEN, ids=lambda subject: next(iter(subject)))
async def test_what_is_revoked_is_refused_its_streams_end_and_nobody_else_notices(
    scene: Scene, subject: dict[str, Any]
) -> None:
    async with scene.watch() as stream, scene.watch(OTHER) as other:
        scene.auth.revoke(**subject)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await stream == REVOKED
        assert await scene.call() == INVALID
        assert await scene.asked(3, OTHER) == 0
        assert not other.done()


async def test_everything_can_be_revoked(scene: Scene) -> None:
    async with scene.watch() as stream, scene.watch(OTHER) as other:
        scene.auth.revoke(everything=True)
        assert [await stream, await other] == [REVOKED] * 2
        assert [await scene.call(), await scene.call(OTHER)] == [INVALID] * 2


async def test_the_backend_hears_that_a_revoked_stream_has_ended(scene: Scene) -> None:
    async with scene.watch():
        scene.auth.revoke(client_id="client-of-partner")
        await asyncio.wait_for(scene.backend.cancelled.wait(), PATIENCE_SECONDS)


@pytest.mark.parametrize(("method", "refusal"), [(WATCH, REVOKED), (PARTNER_METHOD, INVALID)])
async def test_a_call_reaches_no_backend_if_its_token_is_revoked_before_its_message_comes(
    scene: Scene, method: str, refusal: tuple[Status, str]
) -> None:
    scene.auth.asked.clear()
    metadata = [("authorization", "Bearer sat_late")]
    late = scene.front.channel.stream_stream(method)(metadata=metadata)  # as one message on the wire, but not yet
    await scene.auth.asked.wait()
    assert await scene.call("sat_late") == OK  # so that exchange has come in
    opened = len(scene.backend.calls)
    scene.auth.revoke(client_id="client-of-late")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await scene.call("sat_late") == OK:
            opened += 1
    await late.write(b"")
    await late.done_writing()
    assert await outcome(_rest(late)) == refusal
    assert await scene.call(OTHER) == OK  # by the same connection, so after whatever came before it
    assert len(scene.backend.calls) == opened + 1


async def test_a_stream_ends_also_if_its_exchange_is_kept_no_more(folder: Path) -> None:
    async with hearing(folder, exchange_cache_entries=1) as scene, scene.watch() as stream:
        assert await scene.asked(1, OTHER) == 1
        scene.auth.revoke(client_id="client-of-partner")
        assert await stream == REVOKED


# -- The way is cut


async def test_what_was_revoked_while_the_way_was_cut_is_heard_when_it_is_open_again(scene: Scene) -> None:
    async with scene.watch() as stream, scene.watch(OTHER) as other:
        scene.way.closed = True
        scene.way.cut()
        for subject in ("client-of-partner", "client-of-nobody", "client-of-someone"):
            scene.auth.revoke(client_id=subject)
        assert await scene.asked(1) == 0
        scene.way.closed = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await stream == REVOKED
        assert scene.watched_from_where_it_was()
        assert await scene.call() == INVALID
        assert await scene.asked(1, OTHER) == 0
        assert not other.done()


async def test_a_dead_connection_is_noticed(scene: Scene) -> None:
    async with scene.watch() as stream:
        scene.way.swallow()
        scene.auth.revoke(client_id="client-of-partner")
        async with asyncio.timeout(PATIENCE_SECONDS):  # gRPC by itself takes up to a minute
            assert await stream == REVOKED
        assert await scene.asked(1, "sat_new") == 1  # exchanges have a good connection, too


async def test_an_auth_server_that_says_nothing_is_asked_anew(scene: Scene) -> None:
    scene.auth.silent = True
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(scene.auth.watched) < 3:
            assert await scene.asked(1) == 0
            await asyncio.sleep(0.02)  # callers who ask without a pause get to their limit
    assert scene.watched_from_where_it_was()


# -- Nobody can tell what is revoked


async def test_after_the_grace_streams_end_and_nothing_is_kept_until_there_is_word_again(folder: Path) -> None:
    async with hearing(folder, revocation_grace_seconds=1.0) as scene:
        async with scene.watch() as stream:
            scene.auth.silent = True
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await stream == UNKNOWN
        assert await scene.asked(3) == 3
        scene.auth.revoke(client_id="client-of-partner")
        assert await scene.call() == INVALID  # who asks each time needs no word
        scene.auth.silent = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await scene.asked(2, OTHER):
                pass


async def test_before_the_first_word_nothing_is_kept(folder: Path) -> None:
    async with scene_of(folder, silent=True) as scene:
        assert await scene.asked(3) == 3
        assert {request.revocation_position for request in scene.auth.requests} == {0}
        scene.auth.silent = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scene.keeps_exchanges()
        assert await scene.asked(1, "sat_new") == 1
        assert scene.auth.requests[-1].revocation_position == 7


async def test_health_and_log_say_whether_revocations_are_heard(folder: Path) -> None:
    async def turns(scene: Scene, status: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for door in (0, 1):
                while await scene.health(door) != (SERVING, status):
                    pass

    async with hearing(folder, listeners=(listener(folder, "one"), listener(folder, "two"))) as scene:
        await turns(scene, SERVING)
        with capture_logs() as lines:
            scene.auth.silent = True
            await turns(scene, NOT_SERVING)
            assert await scene.call() == OK
            scene.auth.silent = False
            await turns(scene, SERVING)
        heard = [(line["log_level"], line["event"], line["position"]) for line in lines if "position" in line]
        # Once each, and not at each look; on a busy machine there may be more turns than the test made.
        turn = [("warning", "revocations are not heard", 7), ("info", "revocations are heard", 7)]
        assert heard
        assert heard == turn * (len(heard) // 2)


async def test_health_says_from_the_start_that_nothing_is_heard_yet(folder: Path) -> None:
    async with scene_of(folder, silent=True) as scene:
        assert await scene.health() == (SERVING, NOT_SERVING)


async def test_a_feed_that_has_lost_a_part_lets_nobody_through_until_it_is_mended(scene: Scene) -> None:
    async with scene.watch() as stream:
        scene.auth.position = 3
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await stream == UNKNOWN
    assert await scene.call() == (Status.UNAVAILABLE, "AUTH_SERVER_UNAVAILABLE")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await scene.health() != (SERVING, NOT_SERVING):
            pass
    scene.auth.position = 2**32
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await scene.health() != (SERVING, SERVING):
            pass
    await scene.keeps_exchanges()
