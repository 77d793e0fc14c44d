"""Real servers over TLS, with handlers that take and give bytes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from mesh.calls.wrapping import Interceptor
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig, ServerConfig
from mesh.security.tls import dns_name
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server, Service

ECHO = "test.v1.Echo"
UNARY = f"/{ECHO}/Unary"

UnaryHandler = Callable[[bytes, Any], Awaitable[bytes]]


async def echo(request: bytes, context: object) -> bytes:
    del context
    return request


def unary(answer: UnaryHandler = echo) -> Mapping[str, Any]:
    return {"Unary": grpc.unary_unary_rpc_method_handler(answer)}


def echo_service(handlers: Mapping[str, Any], name: str = ECHO) -> Service:
    def register(_: object, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))

    return Service(name, register, None)


def server_config(certificates: Path, *, mtls: bool = True, **settings: Any) -> ServerConfig:
    return ServerConfig(
        **{"listen": "127.0.0.1:0", "drain_seconds": 5.0, **settings},
        certificate=certificates / "backend.pem",
        private_key=certificates / "backend-key.pem",
        client_ca=certificates / "company.pem" if mtls else None,
    )


def echo_server(
    config: ServerConfig,
    handlers: Mapping[str, Any],
    interceptors: Sequence[Interceptor] = (),
    *,
    reflected: Mapping[str, FileDescriptorSet] | None = None,
) -> Server:
    return Server(config, [echo_service(handlers)], interceptors, reflection=ReflectionHandler(reflected or {}))


@asynccontextmanager
async def started(server: Server) -> AsyncIterator[Server]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def calling(
    server: Server, certificates: Path, workload: str | None = "gateway", folder: Path | None = None, *, port: int = 0
) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to a started server or to a port before it, by a workload's certificate from a folder, or none."""
    stem = (folder or certificates) / (workload or "")
    config = ChannelConfig(
        target=f"127.0.0.1:{port or server.port}",
        ca=certificates / "company.pem",
        server_name=dns_name("backend"),
        certificate=stem.with_suffix(".pem") if workload else None,
        private_key=stem.with_name(f"{stem.name}-key.pem") if workload else None,
    )
    async with open_channel(config) as channel:
        yield channel


@asynccontextmanager
async def echoing(
    certificates: Path, handlers: Mapping[str, Any], interceptors: Sequence[Interceptor] = ()
) -> AsyncIterator[grpc.aio.Channel]:
    """Run a server, and open the gateway's channel to it."""
    async with (
        started(echo_server(server_config(certificates), handlers, interceptors)) as server,
        calling(server, certificates) as channel,
    ):
        yield channel


async def failure(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    """Return the error that a call ends with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"the call was answered: {answer!r}")
