"""What stands around a gateway: an auth server and a backend over real mTLS, made to do whatever a test wants."""

# ruff: noqa: N802 - methods are named by the contracts

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from gateway.config import BackendConfig, GatewayConfig, ListenerConfig
from mesh import pki
from mesh.access.descriptors import client_type_number
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from mesh.config import ChannelConfig, ServerConfig
from mesh.tls import dns_name
from sekisho.auth.v1 import exchange_service_pb2 as pb
from sekisho.auth.v1 import exchange_service_pb2_grpc as exchange_grpc

PARTNER_METHOD = "/sekisho.payments.v1.PaymentService/CreatePayment"
MASTER_METHOD = "/sekisho.auth.v1.ClientRegistrationService/RegisterClient"
PUBLIC_METHOD = "/sekisho.auth.v1.TokenService/IssueToken"
TOKEN = "sat_partner"
PATIENCE_SECONDS = 20.0

Request = pb.ExchangeTokenRequest
Reply = pb.ExchangeTokenResponse
Handler = Callable[[bytes, Any], Awaitable[bytes]]


def issue_certificates(folder: Path) -> Path:
    """Make the company's CA with its workloads, and the CA of the gateway's public door."""
    company = pki.create_authority(folder, "company")
    for workload in ("gateway", "authserver", "payments"):
        pki.issue_workload(company, folder, workload)
    pki.issue_public(pki.create_authority(folder, "public"), folder, "door")
    return folder


class MtlsServer:
    """A server of a workload, which keeps its port when it is stopped and started again."""

    def __init__(self, folder: Path, workload: str) -> None:
        self._folder = folder
        self._workload = workload
        self._server: grpc.aio.Server | None = None
        self.port = 0

    @property
    def channel_config(self) -> ChannelConfig:
        return ChannelConfig(
            target=f"localhost:{self.port}",
            ca=self._folder / "company.pem",
            server_name=dns_name(self._workload),
            certificate=self._folder / "gateway.pem",
            private_key=self._folder / "gateway-key.pem",
        )

    def register(self, server: grpc.aio.Server) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        self._server = grpc.aio.server(
            options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        self.register(self._server)
        pair = [(self._folder / f"{self._workload}{end}.pem").read_bytes() for end in ("-key", "")]
        credentials = grpc.ssl_server_credentials(
            [(pair[0], pair[1])], (self._folder / "company.pem").read_bytes(), require_client_auth=True
        )
        self.port = self._server.add_secure_port(f"localhost:{self.port}", credentials)
        await self._server.start()

    async def kill(self) -> None:
        if self._server:
            await self._server.stop(None)
        self._server = None


def partner_reply(request: Request) -> Reply:
    """Take every token for a partner's own, with all that partners may do."""
    return Reply(
        access_token=f"private-{request.subject_token}-for-{request.audience}",
        expires_in=300,
        subject_token_expires_in=600,
        scope="payments.read payments.write",
        client_id=f"client-of-{request.subject_token}",
        client_type=client_type_number(ClientType.PARTNER),
        platform_id="shops",
        partner_id="ptn_1",
    )


class FakeAuthServer(MtlsServer, exchange_grpc.ExchangeServiceServicer):
    """What it was asked is in `requests`; it answers by `reply`, a status or a response, while `open` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "authserver")
        self.requests: list[Request] = []
        self.reply: Callable[[Request], Reply | grpc.StatusCode] = partner_reply
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        exchange_grpc.add_ExchangeServiceServicer_to_server(self, server)

    async def ExchangeToken(self, request: Request, context: Any) -> Reply:
        self.requests.append(request)
        self.asked.set()
        await self.open.wait()
        reply = self.reply(request)
        if isinstance(reply, grpc.StatusCode):
            await context.abort(reply, "refused")
        return reply


async def echo(request: bytes, _context: Any) -> bytes:
    return request


class FakeBackend(MtlsServer):
    """Answers every method by `answer`, bytes in and bytes out; the calls it saw are in `calls`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "payments")
        self.answer: Handler = echo
        self.calls: list[tuple[str, Sequence[tuple[str, str | bytes]]]] = []

    def register(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((_AnyMethod(self),))

    async def handle(self, method: str, request: bytes, context: Any) -> bytes:
        self.calls.append((method, context.invocation_metadata()))
        return await self.answer(request, context)

    @property
    def metadata(self) -> list[tuple[str, str | bytes]]:
        """What came with the last call, less what gRPC itself adds on every hop."""
        _, metadata = self.calls[-1]
        return [(key, value) for key, value in metadata if key != "user-agent"]


class _AnyMethod(grpc.GenericRpcHandler):
    def __init__(self, backend: FakeBackend) -> None:
        self._backend = backend

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method

        async def handle(request: bytes, context: Any) -> bytes:
            return await self._backend.handle(method, request, context)

        return grpc.unary_unary_rpc_method_handler(handle)


@asynccontextmanager
async def started(server: MtlsServer) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.kill()


def listener(
    folder: Path, name: str = "public", client_types: frozenset[ClientType] = ALL_CLIENT_TYPES, **settings: Any
) -> ListenerConfig:
    server = ServerConfig(
        listen="localhost:0",
        certificate=folder / "door.pem",
        private_key=folder / "door-key.pem",
        **{"drain_seconds": 5.0, **settings},
    )
    return ListenerConfig(name=name, server=server, client_types=client_types)


def gateway_config(folder: Path, auth: FakeAuthServer, backend: FakeBackend, **settings: Any) -> GatewayConfig:
    """Send the services of two backends to one fake."""
    services = {
        "authserver": ("sekisho.auth.v1.TokenService", "sekisho.auth.v1.ClientRegistrationService"),
        "payments": ("sekisho.payments.v1.PaymentService",),
    }
    backends = tuple(
        BackendConfig(name=name, channel=backend.channel_config, services=names) for name, names in services.items()
    )
    return GatewayConfig(**{"listeners": (listener(folder),), **settings}, auth=auth.channel_config, backends=backends)
