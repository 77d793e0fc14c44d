import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from mesh.access.descriptors import Method
from mesh.channels.channel import open_channel
from mesh.channels.service_config import service_config
from mesh.config import ChannelConfig
from mesh.security.tls import dns_name
from tests.unit.mesh.echo_servers import UNARY, echo_server, server_config, started, unary

PATIENCE_SECONDS = 60.0


class Address:
    """One of several; it counts its calls, and answers with an error if it is to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.fails: grpc.StatusCode | None = None

    async def answer(self, _request: bytes, context: Any) -> bytes:
        self.calls += 1
        if self.fails:
            await context.abort(self.fails, "no")
        return self.name.encode()


@asynccontextmanager
async def calling(certificates: Path, addresses: Sequence[Address]) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to addresses that are left out sooner than is usual, and for a shorter time."""
    config = service_config([Method(UNARY, None, client_streaming=False, server_streaming=False)], health_checked=True)
    impatient = config.replace('"interval": "10s"', '"interval": "0.3s"')
    impatient = impatient.replace('"baseEjectionTime": "10s"', '"baseEjectionTime": "0.3s"')
    assert impatient.count('"0.3s"') == 2
    async with AsyncExitStack() as stack:
        ports = []
        for address in addresses:
            server = echo_server(server_config(certificates), unary(address.answer))
            ports.append((await stack.enter_async_context(started(server))).port)
        to = ChannelConfig(
            target="ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports),
            ca=certificates / "company.pem",
            server_name=dns_name("backend"),
            certificate=certificates / "gateway.pem",
            private_key=certificates / "gateway-key.pem",
        )
        yield await stack.enter_async_context(open_channel(to, service_config=impatient))


async def round_of_calls(channel: grpc.aio.Channel, addresses: Sequence[Address]) -> list[int]:
    """Make calls enough for a judgement; return how many came to each address."""
    before = [address.calls for address in addresses]
    for _ in range(60):
        call = channel.unary_unary(UNARY)(b"")
        assert await call.details() in {"", "no"}
    return [address.calls - count for address, count in zip(addresses, before, strict=True)]


async def test_an_address_that_only_fails_is_left_out_for_a_while(certificates: Path) -> None:
    addresses = [Address("one"), Address("two")]
    async with calling(certificates, addresses) as channel, asyncio.timeout(PATIENCE_SECONDS):
        while 0 in await round_of_calls(channel, addresses):  # both connect
            pass
        addresses[0].fails = grpc.StatusCode.INTERNAL
        while await round_of_calls(channel, addresses) != [0, 60]:
            pass
        addresses[0].fails = None
        while await round_of_calls(channel, addresses) != [30, 30]:
            pass


async def test_callers_who_provoke_errors_everywhere_do_not_shut_out_all(certificates: Path) -> None:
    addresses = [Address("one"), Address("two")]
    async with calling(certificates, addresses) as channel, asyncio.timeout(PATIENCE_SECONDS):
        for address in addresses:
            address.fails = grpc.StatusCode.NOT_FOUND
        while sorted(await round_of_calls(channel, addresses)) != [0, 60]:
            pass
        for _ in range(20):
            assert sum(await round_of_calls(channel, addresses)) == 60


@pytest.mark.parametrize("idempotent", [True, False])
def test_only_idempotent_methods_have_a_retry_policy(*, idempotent: bool) -> None:
    method = Method("/test.v1.Door/Open", None, client_streaming=False, server_streaming=False, idempotent=idempotent)
    config = msgspec.json.decode(service_config([method], health_checked=False))
    names = [name for each in config.get("methodConfig", ()) for name in each["name"]]
    assert names == ([{"service": "test.v1.Door", "method": "Open"}] if idempotent else [])
