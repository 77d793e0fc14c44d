"""A real gateway in front of what it talks to, and a caller at its door."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from gateway.exchange import TIMEOUT_SECONDS
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from mesh.calls.error_info import read_error_info
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig, ServerConfig
from policy.sources.gateway_config import BackendConfig, GatewayConfig, ListenerConfig
from tests import raw_http2
from tests.envoy import Door, doors
from tests.unit.gateway.fake_services import FakeAuthServer, FakeBackend, MtlsServer, started

PARTNER_METHOD = "/sekisho.payments.v1.PaymentService/CreatePayment"
MASTER_METHOD = "/sekisho.auth.v1.ClientRegistrationService/RegisterClient"
PUBLIC_METHOD = "/sekisho.auth.v1.TokenService/IssueToken"
INTERNAL_METHOD = "/sekisho.auth.v1.ExchangeService/ExchangeToken"
TOKEN = "sat_partner"
PATIENCE_SECONDS = 60.0
# For tests in which the auth server does not answer.
HASTY_SECONDS = 0.3

Status = grpc.StatusCode


def listener(
    folder: Path, name: str = "public", client_types: frozenset[ClientType] = ALL_CLIENT_TYPES, **settings: Any
) -> ListenerConfig:
    server = ServerConfig(
        **{"listen": "127.0.0.1:0", "drain_seconds": 5.0, **settings},
        certificate=folder / "door.pem",
        private_key=folder / "door-key.pem",
    )
    return ListenerConfig(name=name, server=server, client_types=client_types)


def gateway_config(
    auth: MtlsServer, backend: MtlsServer, *, health_checked: bool = True, **settings: Any
) -> GatewayConfig:
    """Send the services of two backends to one fake, which is to show the certificate of payments."""
    services = {
        "authserver": ("sekisho.auth.v1.TokenService", "sekisho.auth.v1.ClientRegistrationService"),
        "payments": ("sekisho.payments.v1.PaymentService",),
    }
    channel = backend.channel_config("payments")
    backends = tuple(
        BackendConfig(name=name, channel=channel, services=names, health_checked=health_checked)
        for name, names in services.items()
    )
    defaults = {"listeners": (listener(auth.folder),), "auth": auth.channel_config("authserver"), "backends": backends}
    return GatewayConfig(**{**defaults, **settings})


@dataclass
class Front:
    """The caller's view: the first door is the one that `call` and `post` use."""

    auth: FakeAuthServer
    backend: FakeBackend
    servers: Sequence[Door]
    channel: grpc.aio.Channel

    def call(
        self,
        request: bytes = b"",
        metadata: Iterable[tuple[str, str | bytes]] = (),
        *,
        method: str = PARTNER_METHOD,
        token: str | None = TOKEN,
        timeout: float | None = PATIENCE_SECONDS,
        channel: grpc.aio.Channel | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        bearer = () if token is None else (("authorization", f"Bearer {token}"),)
        unary = (channel or self.channel).unary_unary(method)
        return unary(request, metadata=(*metadata, *bearer), timeout=timeout, compression=compression)

    async def keeps_exchanges(self) -> None:
        """Call until the gateway hears of revocations, and keeps what it exchanged."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                asked = len(self.auth.requests)
                await self.call()
                if len(self.auth.requests) == asked:
                    return

    async def post(
        self, headers: raw_http2.Headers = (), data: bytes | None = None, *, method: str = PARTNER_METHOD
    ) -> raw_http2.Answer:
        """Call by raw HTTP/2."""
        return await raw_http2.post(self.servers[0].port, self.auth.folder / "public.pem", method, headers, data)

    def door(self, number: int, max_message_bytes: int = 4 * 1024 * 1024) -> grpc.aio.Channel:
        """Open a channel to a door."""
        target, ca = f"127.0.0.1:{self.servers[number].port}", self.auth.folder / "public.pem"
        return open_channel(ChannelConfig(target=target, ca=ca, max_message_bytes=max_message_bytes))


@asynccontextmanager
async def gateway_front(
    folder: Path,
    backend: FakeBackend | None = None,
    auth: FakeAuthServer | None = None,
    exchange_timeout_seconds: float = TIMEOUT_SECONDS,
    **settings: Any,
) -> AsyncIterator[Front]:
    """Run auth server, gateway and, if it has no port yet, the backend.

    Args:
        folder: Where the certificates are.
        backend: What answers all calls.
        auth: What exchanges tokens.
        exchange_timeout_seconds: How long the gateway waits for the auth server.
        settings: Of the gateway's configuration.

    """
    auth, backend = auth or FakeAuthServer(folder), backend or FakeBackend(folder)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(started(auth))
        if not backend.port:
            await stack.enter_async_context(started(backend))
        servers = await stack.enter_async_context(
            doors(gateway_config(auth, backend, **settings), exchange_timeout_seconds)
        )
        front = Front(auth, backend, servers, channel=None)  # type: ignore[arg-type]
        front.channel = await stack.enter_async_context(front.door(0))
        yield front


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """Return the error that a call ends with."""
    try:
        answer = await asyncio.wait_for(call, PATIENCE_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"the call was answered: {answer!r}")


async def outcome(call: Any) -> tuple[Status, str]:
    """Return status and reason that a call is refused with."""
    error = await failure(call)
    return error.code(), read_error_info(error)[0]
