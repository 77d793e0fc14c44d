"""Runs the services as processes of this machine, and leaves none behind."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.home import CHECKPOINT, SERVICES, Home, program
from cli.local.configurations import Plane
from cli.local.envoy import ENVOY, envoy_command
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from mesh.errors import Mendable
from mesh.security import tls
from policy.sources.gateway_config import REVOCATIONS

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0  # longer than a service drains
_CHECK_SECONDS = 2.0
_PAUSE_SECONDS = 0.05
_ASKED_FOR = {"gateway": REVOCATIONS}  # it has found the auth server when it hears of those


class ServiceDied(Mendable):
    """A service ended, or never answered; the message says which, and where to look."""


@asynccontextmanager
async def supervised(
    home: Home, running: Mapping[str, str], metrics: Mapping[str, str] | None = None
) -> AsyncIterator["Supervisor"]:
    """Start all services, wait until each answers its health check, and stop them on leaving.

    Args:
        home: Where they live.
        running: The service of each process, by the process's name, in the order in which they start. Processes of
            one service share its port and its log.
        metrics: Where each process is to tell its metrics, by its name, `host:port`.

    Raises:
        ServiceDied: If one does not come up.

    """
    async with AsyncExitStack() as stack:
        supervisor = Supervisor(home, running, metrics or {})
        stack.push_async_callback(supervisor.stop)
        await supervisor.start()
        yield supervisor


class Supervisor:
    """The processes of one mesh."""

    def __init__(self, home: Home, running: Mapping[str, str], metrics: Mapping[str, str]) -> None:
        self._home = home
        self._metrics = metrics
        self._services = running
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        """Start the services, and wait until all answer.

        Raises:
            ServiceDied: If one ends, or does not answer in time.

        """
        for service in {*SERVICES, *self._services.values()}:
            self._home.log(log_of(service)).write_bytes(b"")
        for name, service in self._services.items():
            with self._home.log(log_of(service)).open("ab") as log:
                self._processes[name] = await asyncio.create_subprocess_exec(
                    *self._command(name, service),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the supervisor, which stops them in order
                )
        ready = asyncio.create_task(self._all_answer())
        died = asyncio.create_task(self.died())
        try:
            await asyncio.wait({ready, died}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                await died
            if not ready.done():
                raise ServiceDied(f"the mesh did not come up within {_START_SECONDS:.0f} s; see {self._home.logs}")
            await ready
        finally:
            ready.cancel()
            died.cancel()

    def _command(self, name: str, service: str) -> Sequence[str]:
        if service == ENVOY:
            return envoy_command(self._home)
        module, of = program(service)
        metrics = ("--metrics-listen", self._metrics[name]) if name in self._metrics else ()
        return (sys.executable, "-m", module, "--config", str(self._home.config(of)), "--lifeline", *metrics)

    async def _all_answer(self) -> None:
        await asyncio.gather(*(self._answers(service) for service in SERVICES))

    async def _answers(self, service: str) -> None:
        await self._started(service)
        async with _health_channel(self._home, service) as channel:
            await answer_of(channel, _ASKED_FOR.get(service, ""))

    async def _started(self, service: str) -> None:
        """Wait until all processes of a service log that they have started.

        Of those that share a port, it can't be told which answers there. And a channel that finds nobody yet makes
        longer and longer pauses between its attempts to connect.
        """
        log = self._home.log(service)
        count = list(self._services.values()).count(service)  # none of the gateway's, where Envoy is in its place
        while log.read_bytes().count(b'"started"') < count:  # noqa: ASYNC110 - other processes write it
            await asyncio.sleep(_PAUSE_SECONDS)

    async def died(self) -> None:
        """Wait until a service ends by itself.

        Raises:
            ServiceDied: Then, always.

        """
        waits = {asyncio.create_task(process.wait()): name for name, process in self._processes.items()}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        name = waits[done.pop()]
        status = self._processes[name].returncode
        raise ServiceDied(
            f"{name} ended with status {status}{_last_error(self._home.log(log_of(self._services[name])))}"
        )

    async def stop(self) -> None:
        """Stop the services, those that call others first; kill what does not stop in time."""
        for name in reversed(list(self._services)):
            process = self._processes.get(name)
            if process is None or process.returncode is not None:
                continue
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


def processes(gateways: int, plane: Plane = Plane.GATEWAY) -> dict[str, str]:
    """Return the name of each process, with its service, in the order in which they start."""
    more = {f"gateway {number}": "gateway" for number in range(2, gateways + 1)}
    doors = {CHECKPOINT: CHECKPOINT, ENVOY: ENVOY} if plane is Plane.ENVOY else {"gateway": "gateway", **more}
    return {"authserver": "authserver", "payments": "payments", **doors, "shops": "shops"}


def log_of(service: str) -> str:
    """Return the service whose log a service writes to: Envoy writes the gateway's."""
    return "gateway" if service == ENVOY else service


def _health_channel(home: Home, service: str) -> grpc.aio.Channel:
    config = yaml.safe_load(home.config(service).read_text())
    server = config["server"] if "server" in config else config["listeners"][0]["server"]
    inside = "client_ca" in server
    return open_channel(
        ChannelConfig(
            target=server["listen"],
            ca=home.pki / ("workload-ca.pem" if inside else "public-ca.pem"),
            server_name=tls.dns_name(service) if inside else None,
            certificate=home.pki / "supervisor.pem" if inside else None,
            private_key=home.pki / "supervisor-key.pem" if inside else None,
        )
    )


async def answer_of(channel: grpc.aio.Channel, name: str = "") -> None:
    """Return once a service says that it serves: the whole of it, or what goes by a name."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    while True:
        try:
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=_CHECK_SECONDS)
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return
        except grpc.aio.AioRpcError:
            pass
        await asyncio.sleep(_PAUSE_SECONDS)


def _last_error(log: Path) -> str:
    for line in reversed(log.read_text(errors="replace").splitlines()):
        try:
            event = msgspec.convert(json.loads(line), dict[str, object])
        except (ValueError, msgspec.ValidationError):
            return f": {line}; see {log}"
        if event.get("level") == "error":
            return f": {event.get('event')}: {event.get('error', '')}; see {log}"
    return f"; see {log}"
