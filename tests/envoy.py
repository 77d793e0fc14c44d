"""The other plane: Envoy carries the calls of a test's gateway, and asks a checkpoint that runs in the test."""

import asyncio
import json
import os
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from cli.local.configurations import Plane, reserved_port
from cli.rendered_envoy import binary, write
from envoy_plane.rendering.render import BOOTSTRAP, render
from envoy_plane.server import running as checkpoint_running
from gateway.server import running as gateway_running
from mesh.config import ChannelConfig, ServerConfig
from mesh.security.tls import dns_name
from policy.routes import compile_routes
from policy.sources.contracts import read_contracts
from policy.sources.gateway_config import EnvoyConfig, GatewayConfig
from tests.waiting import until

# What carries the calls in this run of the tests.
PLANE = Plane(os.environ.get("SEKISHO_TEST_PLANE", Plane.GATEWAY))

_START_SECONDS = 30.0


class Door(Protocol):
    """Where a test's calls come in."""

    port: int

    async def stop(self) -> None: ...


@dataclass
class EnvoyDoor:
    """A listener of an Envoy that runs."""

    port: int
    process: asyncio.subprocess.Process

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()


@asynccontextmanager
async def doors(config: GatewayConfig, exchange_timeout_seconds: float) -> AsyncIterator[Sequence[Door]]:
    """Run a gateway, or what is in its place on the other plane."""
    if PLANE is Plane.GATEWAY:
        async with gateway_running(config, exchange_timeout_seconds) as servers:
            yield servers
        return
    async with AsyncExitStack() as stack:
        port, admin = reserved_port(), reserved_port()
        config = msgspec.structs.replace(config, envoy=_envoy(config, port, admin))
        await stack.enter_async_context(checkpoint_running(config, exchange_timeout_seconds))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sekisho-envoy-")))
        write(folder, render(config, compile_routes(config, read_contracts(config).methods), folder))
        with (folder / "envoy.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(binary(), "-c", str(folder / BOOTSTRAP), "--use-dynamic-base-id", "--log-level", "warning"),
                *("--concurrency", "1", "--drain-time-s", "1"),
                stdout=log,
                stderr=log,
            )
        stack.push_async_callback(_end, process)
        await asyncio.to_thread(until, lambda: _ready(admin), _START_SECONDS)
        ports = await asyncio.to_thread(_ports, admin)
        yield [EnvoyDoor(ports[each.name], process) for each in config.listeners]


def _envoy(config: GatewayConfig, port: int, admin: int) -> EnvoyConfig:
    """Return how Envoy reaches the checkpoint: as the gateway reaches the auth server, from and to itself."""
    inner = config.auth
    assert inner.certificate
    assert inner.private_key
    return EnvoyConfig(
        server=ServerConfig(
            listen=f"127.0.0.1:{port}",
            certificate=inner.certificate,
            private_key=inner.private_key,
            client_ca=inner.ca,
        ),
        checkpoint=ChannelConfig(
            target=f"127.0.0.1:{port}",
            ca=inner.ca,
            server_name=dns_name("gateway"),
            certificate=inner.certificate,
            private_key=inner.private_key,
        ),
        admin_listen=f"127.0.0.1:{admin}",
    )


def _ready(admin: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _ports(admin: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/listeners?format=json", timeout=5) as answer:
        listening = json.load(answer)["listener_statuses"]
    return {each["name"]: each["local_address"]["socket_address"]["port_value"] for each in listening}


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
