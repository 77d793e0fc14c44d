"""A service at several addresses, which come and go, break calls off, or are not well; over real mTLS."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from mesh.access.descriptors import client_type_number
from mesh.access.rules import ClientType
from mesh.config import ChannelConfig
from tests.tcp_proxy import TcpProxy, proxied
from tests.unit.gateway.fake_services import (
    FakeAuthServer,
    FakeBackend,
    Reply,
    Request,
    issue_certificates,
    partner_reply,
    started,
)
from tests.unit.gateway.front import (
    MASTER_METHOD,
    PARTNER_METHOD,
    PATIENCE_SECONDS,
    TOKEN,
    Front,
    Status,
    gateway_front,
    outcome,
)
from tests.unit.gateway.stream_front import StreamBackend

IDEMPOTENT, NOT_IDEMPOTENT, WATCH = PARTNER_METHOD, MASTER_METHOD, "/sekisho.payments.v1.PaymentService/WatchPayments"
MASTER_TOKEN = "sat_master"
UNREACHABLE = (Status.UNAVAILABLE, "BACKEND_UNAVAILABLE")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("backends"))


class AtSeveralAddresses(FakeBackend):
    """What the gateway takes for one backend; it is started already."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        super().__init__(folder)
        self.port = ports[0]
        self._target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)

    def channel_config(self, server_name: str) -> ChannelConfig:
        return msgspec.structs.replace(super().channel_config(server_name), target=self._target)


@dataclass
class Scene:
    """A gateway, and two addresses of what is behind it, with ways that may be cut."""

    front: Front
    one: Any
    two: Any
    ways: tuple[TcpProxy, TcpProxy]

    def call(self, method: str = IDEMPOTENT, **settings: Any) -> Any:
        token = TOKEN if method != NOT_IDEMPOTENT else MASTER_TOKEN
        return self.front.call(b"hello", method=method, token=token, **settings)

    async def answered_by(self, calls: int, method: str = IDEMPOTENT) -> tuple[int, int]:
        """Make calls, which must all be answered; return how many came to each address."""
        before = [len(each.calls) for each in (self.one, self.two)]
        for _ in range(calls):
            assert await self.call(method) == b"hello"
        one, two = (len(each.calls) - count for each, count in zip((self.one, self.two), before, strict=True))
        return one, two

    async def both_answer(self) -> None:
        """Wait until calls go to both addresses."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while 0 in await self.answered_by(2):
                pass


def reply(request: Request) -> Reply | grpc.StatusCode:
    """Take one token for a Master Client's, and the others for partners'."""
    answer = partner_reply(request)
    if isinstance(answer, Reply) and request.subject_token == MASTER_TOKEN:
        answer.client_type, answer.scope = client_type_number(ClientType.MASTER), "clients.write"
    return answer


@asynccontextmanager
async def scene_of(folder: Path, kind: Callable[[Path], Any] = FakeBackend, **settings: Any) -> AsyncIterator[Scene]:
    auth, one, two = FakeAuthServer(folder), kind(folder), kind(folder)
    auth.reply = reply
    async with AsyncExitStack() as stack:
        for each in (one, two):
            await stack.enter_async_context(started(each))
        first, second = [await stack.enter_async_context(proxied(each.port)) for each in (one, two)]
        behind = AtSeveralAddresses(folder, [first.port, second.port])
        front = await stack.enter_async_context(gateway_front(folder, behind, auth, **settings))
        scene = Scene(front, one, two, (first, second))
        if kind is FakeBackend:
            await scene.both_answer()
        yield scene


@pytest.fixture
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with scene_of(folder) as scene:
        yield scene


def refusing(times: int) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """Return an answer that is a refusal the first times."""
    left = [times]

    async def answer(request: bytes, context: Any) -> bytes:
        left[0] -= 1
        if left[0] >= 0:
            await context.abort(Status.UNAVAILABLE, "not now")
        return request

    return answer


async def test_calls_go_round_among_the_addresses(scene: Scene) -> None:
    assert await scene.answered_by(40) == (20, 20)


async def test_an_address_that_says_it_does_not_serve_gets_no_call_until_it_does(scene: Scene) -> None:
    await scene.two.report(serving=False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await scene.answered_by(4) != (4, 0):
            pass
    assert await scene.answered_by(20) == (20, 0)
    await scene.two.report(serving=True)
    await scene.both_answer()


async def test_health_is_not_asked_if_the_configuration_says_so(folder: Path) -> None:
    async with scene_of(folder, health_checked=False) as scene:
        await scene.two.report(serving=False)
        assert await scene.answered_by(40) == (20, 20)


@pytest.mark.parametrize("method", [IDEMPOTENT, NOT_IDEMPOTENT])
async def test_nobody_notices_an_address_that_stops_and_starts_between_calls(scene: Scene, method: str) -> None:
    for _ in range(3):
        await scene.two.kill()
        assert await scene.answered_by(10, method) == (10, 0)
        await scene.two.start()
        await scene.both_answer()


@pytest.mark.parametrize("method", [IDEMPOTENT, NOT_IDEMPOTENT])
async def test_when_no_address_is_left_it_is_said_so_and_nothing_was_done(scene: Scene, method: str) -> None:
    for each in (scene.one, scene.two):
        await each.kill()
    calls = len(scene.one.calls) + len(scene.two.calls)
    for _ in range(5):
        assert await outcome(scene.call(method)) == UNREACHABLE
    assert len(scene.one.calls) + len(scene.two.calls) == calls
    await scene.one.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (status := await scene.call(method).code()) != Status.OK:
            assert status == Status.UNAVAILABLE


async def test_when_no_address_serves_it_is_said_so(scene: Scene) -> None:
    for each in (scene.one, scene.two):
        await each.report(serving=False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await scene.call().code() == Status.OK:
            pass
    assert await outcome(scene.call()) == UNREACHABLE


async def test_an_idempotent_method_is_tried_again_at_another_address(scene: Scene) -> None:
    scene.one.answer = refusing(100)
    before = len(scene.one.calls)
    for _ in range(10):
        assert await scene.call() == b"hello"
    assert len(scene.one.calls) > before  # it was asked, and refused


async def test_an_idempotent_method_is_tried_three_times_at_most(scene: Scene) -> None:
    before = len(scene.one.calls) + len(scene.two.calls)
    scene.one.answer = scene.two.answer = refusing(100)
    assert (await outcome(scene.call()))[0] == Status.UNAVAILABLE
    assert len(scene.one.calls) + len(scene.two.calls) - before == 3


async def test_a_method_that_is_not_declared_idempotent_is_tried_once(scene: Scene) -> None:
    before = len(scene.one.calls) + len(scene.two.calls)
    scene.one.answer = scene.two.answer = refusing(1)
    assert (await outcome(scene.call(NOT_IDEMPOTENT)))[0] == Status.UNAVAILABLE
    assert len(scene.one.calls) + len(scene.two.calls) - before == 1


@pytest.mark.parametrize("code", [code for code in Status if code not in {Status.OK, Status.UNAVAILABLE}])
async def test_no_other_status_is_tried_again(scene: Scene, code: Status) -> None:
    async def answer(_request: bytes, context: Any) -> bytes:
        await context.abort(code, "no")
        return b""

    before = len(scene.one.calls) + len(scene.two.calls)
    scene.one.answer = scene.two.answer = answer
    assert (await outcome(scene.call()))[0] == code
    assert len(scene.one.calls) + len(scene.two.calls) - before == 1


@pytest.mark.parametrize("method", [IDEMPOTENT, NOT_IDEMPOTENT])
async def test_a_call_whose_connection_breaks_is_done_again_only_if_declared_idempotent(
    scene: Scene, method: str
) -> None:
    async def hang(_request: bytes, _context: Any) -> bytes:
        scene.one.answer = scene.two.answer = echo
        begun.set()
        await asyncio.Event().wait()
        return b""

    begun = asyncio.Event()
    echo = scene.one.answer
    scene.one.answer = scene.two.answer = hang
    before = len(scene.one.calls) + len(scene.two.calls)
    call = asyncio.ensure_future(scene.call(method))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await begun.wait()
    for way in scene.ways:
        way.cut()
    if method == IDEMPOTENT:
        assert await call == b"hello"
    else:
        assert await outcome(call) == UNREACHABLE
    assert len(scene.one.calls) + len(scene.two.calls) - before == (2 if method == IDEMPOTENT else 1)


def stream(scene: Scene) -> Any:
    return scene.front.channel.unary_stream(WATCH)(b"", metadata=[("authorization", f"Bearer {TOKEN}")])


async def test_a_stream_is_tried_again_before_its_first_answer_only(folder: Path) -> None:
    opened = Counter[str]()
    async with scene_of(folder, kind=StreamBackend) as scene:

        async def refuse_once(context: Any) -> None:
            opened["early"] += 1
            if opened["early"] == 1:
                await context.abort(Status.UNAVAILABLE, "not now")
            await context.write(b"first")

        async def break_off(context: Any) -> None:
            opened["late"] += 1
            await context.write(b"first")
            await context.abort(Status.UNAVAILABLE, "not now")

        scene.one.handle = scene.two.handle = refuse_once
        call = stream(scene)
        assert [await call.read(), await call.read()] == [b"first", grpc.aio.EOF]
        scene.one.handle = scene.two.handle = break_off
        call = stream(scene)
        assert await call.read() == b"first"
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call.read()
        assert error.value.code() == Status.UNAVAILABLE
        assert opened == {"early": 2, "late": 1}


async def test_a_stream_that_breaks_off_after_its_first_answer_ends(folder: Path) -> None:
    opened: list[object] = []

    async def forever(context: Any) -> None:
        opened.append(context)
        await context.write(b"first")
        await asyncio.Event().wait()

    async with scene_of(folder, kind=StreamBackend) as scene:
        scene.one.handle = scene.two.handle = forever
        call = stream(scene)
        assert await call.read() == b"first"
        for way in scene.ways:
            way.cut()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await asyncio.wait_for(call.read(), PATIENCE_SECONDS)
        assert error.value.code() == Status.UNAVAILABLE
        assert len(opened) == 1


# -- The auth server


class ReplicatedAuthServer(FakeAuthServer):
    """One of two, which the gateway is given the addresses of."""

    def __init__(self, folder: Path, other: FakeAuthServer) -> None:
        super().__init__(folder)
        self._other = other

    def channel_config(self, server_name: str) -> ChannelConfig:
        target = f"ipv4:127.0.0.1:{self.port},127.0.0.1:{self._other.port}"
        return msgspec.structs.replace(super().channel_config(server_name), target=target)


async def test_while_one_of_two_auth_servers_is_left_tokens_are_exchanged_and_revocations_heard(folder: Path) -> None:
    two = FakeAuthServer(folder)
    one = ReplicatedAuthServer(folder, two)
    async with started(two), gateway_front(folder, auth=one) as front:
        numbers = itertools.count()

        async def exchanged_by_both() -> None:
            one.requests.clear(), two.requests.clear()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (one.requests and two.requests):
                    assert await front.call(b"hello", token=f"sat_new{next(numbers)}") == b"hello"

        for gone in (one, two):
            await exchanged_by_both()
            await gone.kill()
            for _ in range(10):
                assert await front.call(b"hello", token=f"sat_new{next(numbers)}") == b"hello"
            if gone is one:
                await one.start()
        await front.keeps_exchanges()
        one.revoke(client_id="client-of-partner")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await ending(front.call(b"hello")) == Status.OK:
                pass
        assert await ending(front.call(b"hello")) == Status.UNAUTHENTICATED


async def ending(call: Any) -> Status:
    code: Status = await call.code()
    return code
