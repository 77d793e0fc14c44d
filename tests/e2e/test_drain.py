"""Processes stop by SIGTERM while calls come in without a pause: each call is answered."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from cli.home import Home
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from sekisho.auth.v1 import key_service_pb2 as key_pb
from sekisho.auth.v1 import key_service_pb2_grpc as key_grpc
from tests.mesh import mesh_up, sekisho
from tests.services import Services

CLIENTS, CALLS_AT_ONCE = 6, 8
AGE_SECONDS, LAME_DUCK_SECONDS = 1.0, 1.5


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Run two gateways on one port, whose connections do not last long."""
    with Services(tmp_path / "home") as services:
        file = services.home.config("gateway")
        config = yaml.safe_load(file.read_text())
        config["listeners"][0]["server"].update(
            share_port=True, max_connection_age_seconds=AGE_SECONDS, lame_duck_seconds=LAME_DUCK_SECONDS
        )
        file.write_text(yaml.safe_dump(config))
        services.start("authserver", "gateway", "gateway 2")
        yield services


async def outcomes(address: str, home: Home, meanwhile: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Call without a pause, by several connections, until something is done; return how the calls ended."""
    ended, done = Counter[str](), asyncio.Event()

    async def caller(stub: Any) -> None:
        while not done.is_set():
            call = stub.ListKeys(key_pb.ListKeysRequest(), timeout=30)
            code = await call.code()
            ended["OK" if code == grpc.StatusCode.OK else f"{code}: {await call.details()}"] += 1

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            to = ChannelConfig(target=address, ca=home.pki / "public-ca.pem")
            stub = key_grpc.KeyServiceStub(await stack.enter_async_context(open_channel(to)))
            for _ in range(CALLS_AT_ONCE):
                tasks.create_task(caller(stub))
        await meanwhile()
        done.set()
    return ended


async def test_gateways_that_share_a_port_are_replaced_one_by_one_without_the_loss_of_a_call(
    services: Services,
) -> None:
    async def replace() -> None:
        for name in ("gateway", "gateway 2"):
            await asyncio.to_thread(services.terminate, name)
            await asyncio.to_thread(services.start, name)

    mesh = services.mesh()
    ended = await outcomes(mesh.addresses["gateway"], mesh.home, replace)
    assert set(ended) == {"OK"}, ended
    assert ended["OK"] > 100


def test_the_command_line_starts_several_gateways_and_no_others_on_their_port(tmp_path: Path) -> None:
    log = tmp_path / "home" / "logs" / "gateway.log"
    with mesh_up(tmp_path / "home", gateways=3) as mesh:
        assert log.read_text().count('"started"') == 3
        mesh.token("master")
        port = mesh.addresses["gateway"].rpartition(":")[2]
        second = sekisho("up", "--home", str(tmp_path / "other"), "--port", port, "--gateways", "2")
        assert second.returncode == 2
        assert f"can't listen on 127.0.0.1:{port}" in second.stderr


def test_all_end_when_one_gateway_of_several_dies(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from cli.main import main; main()", "up", "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--gateways", "2", "--home", str(tmp_path / "home")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stdout
        assert up.stderr
        assert up.stdout.readline().startswith("{")
        gateways = [
            pid for pid in children(up.pid) if b"gateway" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]
        assert len(gateways) == 2
        os.kill(gateways[-1], signal.SIGKILL)
        assert up.wait(60) != 0
        assert "gateway 2 ended with status -9" in up.stderr.read()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
