"""What a gateway talks to: an auth server and a backend over real mTLS, made to do whatever a test wants."""

# ruff: noqa: N802 - methods are named by the contracts

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mesh.access.descriptors import client_type_number
from mesh.access.rules import ClientType
from mesh.config import ChannelConfig
from mesh.errors import ServiceError
from mesh.interceptors.errors import abort
from mesh.security import pki
from mesh.security.tls import dns_name
from sekisho.auth.v1 import exchange_service_pb2 as pb
from sekisho.auth.v1 import exchange_service_pb2_grpc as exchange_grpc
from sekisho.auth.v1 import revocation_service_pb2 as revocation_pb
from sekisho.auth.v1 import revocation_service_pb2_grpc as revocation_grpc

Request = pb.ExchangeTokenRequest
Reply = pb.ExchangeTokenResponse
Metadata = list[tuple[str, str | bytes]]
Answer = Callable[[bytes, Any], Awaitable[bytes]]

_TOKEN = re.compile(r"sat_[a-z0-9]+")
# More often than the real one does, so that tests are fast.
_HEARTBEAT_SECONDS = 0.05
# What mesh.serving.server sets; gRPC's own limits on metadata are lower.
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
    ("grpc.so_reuseport", 0),
]


def issue_certificates(folder: Path) -> Path:
    """Make the company's CA with its workloads, and the CA of the gateway's public door."""
    company = pki.create_authority(folder, "company")
    for workload in ("gateway", "authserver", "payments"):
        pki.issue_workload(company, folder, workload)
    pki.issue_public(pki.create_authority(folder, "public"), folder, "door")
    return folder


class MtlsServer:
    """A server of a workload, which keeps its port when it is killed and started again.

    Attributes:
        health: What it says of itself.

    """

    def __init__(self, folder: Path, workload: str) -> None:
        self.folder = folder
        self.workload = workload
        self.port = 0
        self.health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    def channel_config(self, server_name: str) -> ChannelConfig:
        return ChannelConfig(
            target=f"127.0.0.1:{self.port}",
            ca=self.folder / "company.pem",
            server_name=dns_name(server_name),
            certificate=self.folder / "gateway.pem",
            private_key=self.folder / "gateway-key.pem",
        )

    def register(self, server: grpc.aio.Server) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        self._server = grpc.aio.server(options=_OPTIONS)
        await self.report(serving=True)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.register(self._server)
        key, certificate, ca = (
            (self.folder / f"{name}.pem").read_bytes() for name in (f"{self.workload}-key", self.workload, "company")
        )
        credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        await self._server.start()

    async def report(self, *, serving: bool) -> None:
        """Tell health checks how it is."""
        status = health_pb2.HealthCheckResponse
        await self.health.set("", status.SERVING if serving else status.NOT_SERVING)

    async def kill(self) -> None:
        if self._server:
            await self._server.stop(None)
        self._server = None


@asynccontextmanager
async def started(server: MtlsServer) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.kill()


def private_token(access_token: str, audience: str) -> str:
    return f"pat.{hashlib.sha256(access_token.encode()).hexdigest()}.{audience}"


def partner_reply(request: Request) -> Reply | grpc.StatusCode:
    """Take every well-formed token for a partner's own, with all that partners may do."""
    if not _TOKEN.fullmatch(request.subject_token):
        return grpc.StatusCode.UNAUTHENTICATED
    return Reply(
        access_token=private_token(request.subject_token, request.audience),
        expires_in=300,
        subject_token_expires_in=600,
        scope="payments.read payments.write",
        client_id=f"client-of-{request.subject_token.removeprefix('sat_')}",
        client_type=client_type_number(ClientType.PARTNER),
        platform_id="shops",
        partner_id="ptn_1",
    )


def changed(**fields: Any) -> Callable[[Request], Reply | grpc.StatusCode]:
    """Answer as `partner_reply`, but for some fields."""

    def reply(request: Request) -> Reply | grpc.StatusCode:
        answer = partner_reply(request)
        if isinstance(answer, Reply):
            answer.MergeFrom(Reply(**fields))
        return answer

    return reply


class FakeAuthServer(MtlsServer, exchange_grpc.ExchangeServiceServicer, revocation_grpc.RevocationServiceServicer):
    """What it was asked is in `requests`; it answers by `reply`, as soon as `open` is set.

    Attributes:
        position: How far its feed of revocations is.
        known: How far exchanges know it; None if they know it all.
        silent: Whether watches get nothing, not even heartbeats.
        watched: The position that each watch began at; None if it gave none.

    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "authserver")
        self.requests: list[Request] = []
        self.metadata: list[Metadata] = []
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.reply: Callable[[Request], Reply | grpc.StatusCode | ServiceError] = partner_reply
        self.position = 7
        self.known: int | None = None
        self.silent = False
        self.watched: list[int | None] = []
        self._revocations: list[revocation_pb.Revocation] = []

    def register(self, server: grpc.aio.Server) -> None:
        exchange_grpc.add_ExchangeServiceServicer_to_server(self, server)
        revocation_grpc.add_RevocationServiceServicer_to_server(self, server)

    def revoke(self, **subject: Any) -> None:
        self.position += 1
        self._revocations.append(revocation_pb.Revocation(position=self.position, **subject))

    async def ExchangeToken(self, request: Request, context: Any) -> Reply:
        self.requests.append(request)
        self.metadata.append(list(context.invocation_metadata()))
        self.asked.set()
        known = self.position if self.known is None else self.known
        reply = self.reply(request)
        if isinstance(reply, Reply):
            reply.revocation_position = reply.revocation_position or known
            if any(_names(each, request, reply) for each in self._revocations if each.position <= known):
                reply = grpc.StatusCode.UNAUTHENTICATED
        await self.open.wait()
        if isinstance(reply, ServiceError):
            await abort(context, reply)
        if isinstance(reply, grpc.StatusCode):
            await context.abort(reply, "refused")
        return reply

    async def WatchRevocations(self, request: revocation_pb.WatchRevocationsRequest, context: Any) -> None:
        self.watched.append(request.position if request.HasField("position") else None)
        position = request.position if request.HasField("position") else self.position
        while True:
            if not self.silent:
                news = [each for each in self._revocations if each.position > position]
                position = self.position
                await context.write(revocation_pb.WatchRevocationsResponse(position=position, revocations=news))
            await asyncio.sleep(_HEARTBEAT_SECONDS)


def _names(revocation: revocation_pb.Revocation, request: Request, reply: Reply) -> bool:
    kind = revocation.WhichOneof("subject")
    named = {"token_digest": hashlib.sha256(request.subject_token.encode()).digest(), "everything": True}
    return bool(getattr(revocation, kind) == (named[kind] if kind in named else getattr(reply, kind)))


async def echo(request: bytes, _context: Any) -> bytes:
    return request


class FakeBackend(MtlsServer):
    """Answers every method by `answer`, bytes in and bytes out; what came with the calls is in `calls`."""

    def __init__(self, folder: Path, workload: str = "payments") -> None:
        super().__init__(folder, workload)
        self.calls: list[Metadata] = []
        self.answer: Answer = echo

    def register(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((_AnyMethod(self),))

    async def handle(self, request: bytes, context: Any) -> bytes:
        # Each hop's own transport says who it is.
        self.calls.append([(key, value) for key, value in context.invocation_metadata() if key != "user-agent"])
        return await self.answer(request, context)


class _AnyMethod(grpc.GenericRpcHandler):
    def __init__(self, backend: FakeBackend) -> None:
        self._backend = backend

    def service(self, _details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._backend.handle)
