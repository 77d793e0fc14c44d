"""Backends, the auth server and gateways are killed and started again under load, and every call is accounted for."""

import asyncio
import itertools
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from cli.local.configurations import reserved_port
from mesh.calls.error_info import read_error_info
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.auth.v1 import token_service_pb2_grpc as token_grpc
from tests.services import Services
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

IDEMPOTENT = "/sekisho.payments.v1.WalletService/OpenWallet"
NOT_IDEMPOTENT = "/sekisho.payments.v1.WalletService/IssuePaymentCode"
CALLERS = 12
CALLS_WITH_A_TOKEN = 10  # then a new one is taken, which the gateway has not seen
MAX_ATTEMPTS = 3
GATEWAYS = ("gateway", "gateway 2")

OK = ("OK", "")
BROKEN_OFF = ("UNAVAILABLE", "")  # says the caller's own transport
UNREACHABLE, UNCHECKED = ("UNAVAILABLE", "BACKEND_UNAVAILABLE"), ("UNAVAILABLE", "AUTH_SERVER_UNAVAILABLE")


class Backends:
    """Two processes of one backend; a mesh's gateway takes them for payments."""

    def __init__(self, services: Services, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        pki = services.home.pki
        for source, name in (("payments", "payments"), ("payments-key", "payments-key"), ("workload-ca", "company")):
            shutil.copy(pki / f"{source}.pem", folder / f"{name}.pem")
        self._done = folder / "done"
        self._done.touch()
        self.ports = [reserved_port(), reserved_port()]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *ports: int) -> None:
        for port in ports:
            command = [sys.executable, "-m", "tests.recording_backend", self._folder, str(port), self._done]
            with (self._folder / f"{port}.log").open("ab") as log:
                self._processes[port] = subprocess.Popen(command, stdout=log, stderr=log)
        for port in ports:
            until(lambda port=port: self._listens(port))

    def kill(self, port: int) -> None:
        self._processes[port].kill()
        self._processes[port].wait()

    def done(self) -> Counter[str]:
        """Return how often each request was done."""
        return Counter(self._done.read_text().split())

    def _listens(self, port: int) -> bool:
        assert self._processes[port].poll() is None, (self._folder / f"{port}.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with Services(tmp_path / "home") as services:
        yield services


@pytest.fixture
def backends(services: Services, tmp_path: Path) -> Iterator[Backends]:
    """Run the auth server, two backends, and two gateways in front."""
    backends = Backends(services, tmp_path / "backends")
    file = services.home.config("gateway")
    config = yaml.safe_load(file.read_text())
    behind = next(each for each in config["backends"] if each["name"] == "payments")
    behind["channel"]["target"] = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in backends.ports)
    config["listeners"][0]["server"]["share_port"] = True
    file.write_text(yaml.safe_dump(config))
    try:
        backends.start(*backends.ports)
        services.start("authserver", *GATEWAYS)
        yield backends
    finally:
        for port in backends.ports:
            backends.kill(port)


@dataclass
class Load:
    """Callers, and how each of their calls ended.

    Attributes:
        ended: Path, status and reason of each call, by its request id.
        tokens: The same of each token that was asked for.

    """

    credentials: tuple[str, str]
    ended: dict[str, tuple[str, tuple[str, str]]] = field(default_factory=dict)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    _stopped: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @asynccontextmanager
    async def running(self, to: ChannelConfig) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(self._call_on(await stack.enter_async_context(open_channel(to))))
            yield
            self._stopped = True

    async def _call_on(self, channel: grpc.aio.Channel) -> None:
        token = ""
        while not self._stopped:
            token = await self._new_token(channel) or token
            for number in itertools.islice(self._numbers, CALLS_WITH_A_TOKEN if token else 0):
                path, request_id = (IDEMPOTENT, NOT_IDEMPOTENT)[number % 2], f"call-{number}"
                metadata = [("authorization", f"Bearer {token}"), ("x-request-id", request_id)]
                call = channel.unary_unary(path)(b"", metadata=metadata, timeout=30, wait_for_ready=True)
                self.ended[request_id] = path, await outcome(call)

    async def _new_token(self, channel: grpc.aio.Channel) -> str:
        client_id, secret = self.credentials
        request = token_pb.IssueTokenRequest(grant_type="client_credentials", client_id=client_id, client_secret=secret)
        call: Any = token_grpc.TokenServiceStub(channel).IssueToken(request, timeout=30, wait_for_ready=True)
        ended = await outcome(call)
        self.tokens.append(ended)
        return str((await call).access_token) if ended == OK else ""


async def outcome(call: Any) -> tuple[str, str]:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, read_error_info(error)[0]
    return OK


def assert_accounted_for(load: Load, done: Counter[str]) -> None:
    assert set(load.tokens) <= {OK, UNREACHABLE, BROKEN_OFF}
    assert set(done) <= set(load.ended)
    for request_id, (path, ended) in load.ended.items():
        times = done[request_id]
        told = f"{request_id} to {path} was done {times} times, and ended with {ended}"
        assert ended in {OK, UNREACHABLE, UNCHECKED, BROKEN_OFF}, told
        assert times <= (1 if path == NOT_IDEMPOTENT else MAX_ATTEMPTS), told
        if ended == OK:
            assert times >= 1, told
        if ended == UNCHECKED:
            assert times == 0, told


def kills(services: Services, backends: Backends) -> Sequence[tuple[Any, Any]]:
    """Return what kills and what starts: each gateway, each backend, the auth server, both backends."""
    one, two = backends.ports
    first, second = GATEWAYS
    return (
        (lambda: backends.kill(one), lambda: backends.start(one)),
        (lambda: services.kill(first), lambda: services.start(first)),
        (lambda: services.kill("authserver"), lambda: services.start("authserver")),
        (lambda: backends.kill(two), lambda: backends.start(two)),
        (lambda: services.kill(second), lambda: services.start(second)),
        (lambda: [backends.kill(one), backends.kill(two)], lambda: backends.start(one, two)),
    )


async def test_whoever_is_killed_under_load_every_call_has_a_true_end_and_none_is_done_twice(
    services: Services, backends: Backends
) -> None:
    mesh = services.mesh()
    load = Load(mesh.credentials("wallet"))
    to = ChannelConfig(target=mesh.addresses["gateway"], ca=mesh.home.pki / "public-ca.pem")
    async with load.running(to):
        for kill, start in kills(services, backends):
            before = len(load.ended)
            await asyncio.to_thread(kill)
            await asyncio.to_thread(start)
            await asyncio.to_thread(until, lambda before=before: len(load.ended) > before + 100)
    assert_accounted_for(load, backends.done())
    ends = Counter(ended for _, ended in load.ended.values())
    assert ends[OK] > 300, ends
    # A caller has one call under way when a gateway dies, and waits then until it is connected to one that lives.
    assert 0 < ends[BROKEN_OFF] <= len(GATEWAYS) * CALLERS, ends
    assert all(map(services.serves, GATEWAYS))
