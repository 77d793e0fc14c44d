"""A gateway in a process of its own, and a neighbour who calls it all the time, whatever strangers do to it."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import msgspec

from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from policy.sources.gateway_config import REVOCATIONS
from sekisho.auth.v1 import token_service_pb2 as token_pb  # noqa: F401 - registers the messages that the log may name
from tests.unit.gateway.fake_services import FakeAuthServer, MtlsServer, started
from tests.unit.gateway.front import PARTNER_METHOD, PUBLIC_METHOD, gateway_config

PATIENCE_SECONDS = 60.0
WATCH_METHOD = "/sekisho.payments.v1.PaymentService/WatchPayments"
HEALTH_METHOD = "/grpc.health.v1.Health/Check"

_MESSAGE = bytes(64 * 1024)


class Backend(MtlsServer):
    """Answers each call with its own message, and a watch with messages for as long as it is read."""

    def register(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((_Handlers(),))


class _Handlers(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method == WATCH_METHOD:
            return grpc.unary_stream_rpc_method_handler(_watch)
        return grpc.unary_unary_rpc_method_handler(_echo)


async def _echo(request: bytes, _context: Any) -> bytes:
    return request


async def _watch(_request: bytes, context: Any) -> None:
    while True:
        await context.write(_MESSAGE)


@dataclass(frozen=True)
class Health:
    """How a gateway is: its tasks, its resident bytes, its open files."""

    tasks: int
    memory: int
    files: int


@dataclass
class Neighbour:
    """Calls with a token, without one, and health, in turn, one call after the other.

    Attributes:
        calls: How many were answered.
        slowest: The seconds of the one that took longest.
        refused: What was not answered as it should have been.

    """

    channel: grpc.aio.Channel
    calls: int = 0
    slowest: float = 0.0
    refused: list[str] = field(default_factory=list)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def call_on(self) -> None:
        """Call until cancelled."""
        bearer = (("authorization", "Bearer sat_neighbour"),)
        while True:
            for method, metadata in ((PARTNER_METHOD, bearer), (PUBLIC_METHOD, ()), (HEALTH_METHOD, ())):
                await self._call(method, metadata)

    async def _call(self, method: str, metadata: Any) -> None:
        start = time.monotonic()
        try:
            await self.channel.unary_unary(method)(b"", metadata=metadata, timeout=PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            self.refused.append(f"{method}: {error.code()} {error.details()}")
        async with self._more:
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.calls += 1
            self._more.notify_all()

    async def answered(self, more: int) -> None:
        """Wait until some more calls were answered, or refused."""
        until = self.calls + more
        async with self._more:
            await self._more.wait_for(lambda: self.calls >= until)


@dataclass(frozen=True)
class Target:
    """What strangers attack.

    Attributes:
        port: Where the gateway listens.
        ca: Whom its certificate is from.
        neighbour: Who calls meanwhile.

    """

    port: int
    ca: Path
    neighbour: Neighbour
    _process: asyncio.subprocess.Process

    async def health(self) -> Health:
        """Ask the gateway's process how it is."""
        return Health(**await _answer(self._process, b"\n"))

    async def recovered(self, before: Health) -> Health:
        """Wait until it has no more tasks and files open than before; return how it is."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            now = await self.health()
            if now.tasks <= before.tasks + 3 and now.files <= before.files:
                return now
            assert time.monotonic() < deadline, f"{before} became {now}"
            await self.neighbour.answered(3)


async def _answer(process: asyncio.subprocess.Process, line: bytes) -> dict[str, int]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(line)
    answer = await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)
    assert answer, "the gateway has ended"
    told: dict[str, int] = json.loads(answer)
    return told


@asynccontextmanager
async def target(folder: Path, log: Path, **settings: Any) -> AsyncIterator[Target]:
    """Run a gateway between an auth server, a backend, and the neighbour.

    Args:
        folder: Where the certificates are.
        log: A folder for its configuration and its log.
        settings: Of its configuration.

    """
    auth, backend = FakeAuthServer(folder), Backend(folder, "payments")
    async with started(auth), started(backend), _gateway(log, gateway_config(auth, backend, **settings)) as process:
        port = (await _answer(process, b""))["port"]
        ca = folder / "public.pem"
        async with open_channel(ChannelConfig(target=f"127.0.0.1:{port}", ca=ca)) as channel:
            await _heard(channel)
            neighbour = Neighbour(channel)
            calling = asyncio.create_task(neighbour.call_on())
            await neighbour.answered(30)
            try:
                yield Target(port, ca, neighbour, process)
            finally:
                calling.cancel()
                await asyncio.wait([calling])


@asynccontextmanager
async def _gateway(folder: Path, config: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    file = folder / "gateway.yaml"
    file.write_bytes(msgspec.json.encode(config, enc_hook=str))  # JSON is YAML
    with (folder / "gateway.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.watched_gateway", str(file)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        yield process
    finally:
        assert process.stdin
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0


async def _heard(channel: grpc.aio.Channel) -> None:
    """Wait until the gateway hears what is revoked, and so keeps exchanges."""
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(
        b"\x0a" + bytes([len(REVOCATIONS)]) + REVOCATIONS.encode(), wait_for_ready=True
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await watch.read() != b"\x08\x01":
            pass
    watch.cancel()
