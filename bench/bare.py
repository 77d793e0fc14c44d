"""What Sekisho is compared with: a bare server that echoes, or a bare proxy that hands bytes on.

`python -m bench.bare --config FILE` runs one. Both do what a program that only does that would do, on the same library,
with the same TLS: no interceptors, no log, no checks.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc

from mesh.access.descriptors import service_of
from mesh.calls.infrastructure import HEALTH_SERVICE
from mesh.calls.wrapping import Context, Handler
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig, ServerConfig, ServiceConfig
from mesh.security import tls
from mesh.serving.lifecycle import run_service

UNARY = "/sekisho.payments.v1.PaymentService/GetPayment"
STREAM = "/sekisho.payments.v1.PaymentService/WatchPayments"
STREAM_MESSAGES = 1_000
# What `STREAM` answers once, to go silent then.
IDLE = b"idle"


class BareConfig(ServiceConfig, frozen=True):
    """A bare server or proxy."""

    # Where to listen.
    server: ServerConfig
    # Where to hand calls on. Absent: they are answered here.
    backend: ChannelConfig | None = None


class Echo(grpc.GenericRpcHandler):
    """Answers each call with its own message: `STREAM` many times, any other method but health once."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler."""
        if service_of(handler_call_details.method) == HEALTH_SERVICE:
            return None  # who does not know the question counts as healthy
        if handler_call_details.method == STREAM:
            return grpc.unary_stream_rpc_method_handler(_repeat)
        return grpc.unary_unary_rpc_method_handler(_echo)


class Proxy(grpc.GenericRpcHandler):
    """Hands messages and the caller's metadata on, and messages back.

    Args:
        channel: To the backend.

    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Prepare a handler for each method."""
        unary: Any = channel.unary_unary(UNARY)
        stream: Any = channel.unary_stream(STREAM)

        async def forward(request: bytes, context: Context) -> bytes:
            response: bytes = await unary(request, metadata=_metadata(context))
            return response

        async def forward_stream(request: bytes, context: Context) -> None:
            call = stream(request, metadata=_metadata(context))
            while (message := await call.read()) is not grpc.aio.EOF:
                await context.write(message)

        self._handlers: dict[str, Handler] = {
            UNARY: grpc.unary_unary_rpc_method_handler(forward),
            STREAM: grpc.unary_stream_rpc_method_handler(forward_stream),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler."""
        return self._handlers.get(handler_call_details.method)


async def _echo(request: bytes, _context: Context) -> bytes:
    return request


async def _repeat(request: bytes, context: Context) -> None:
    if request == IDLE:
        await context.write(request)
        await asyncio.Event().wait()
    for _ in range(STREAM_MESSAGES):
        await context.write(request)


def _metadata(context: Context) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in context.invocation_metadata() or () if key != "user-agent")


@asynccontextmanager
async def running(config: BareConfig) -> AsyncIterator[None]:
    """Run the server as long as the context lasts."""
    async with AsyncExitStack() as stack:
        handler: grpc.GenericRpcHandler = Echo()
        if config.backend is not None:
            handler = Proxy(await stack.enter_async_context(open_channel(config.backend)))
        server = grpc.aio.server(handlers=[handler], options=[("grpc.so_reuseport", 0)])
        server.add_secure_port(config.server.listen, tls.server_credentials(config.server))
        await server.start()
        stack.push_async_callback(server.stop, None)
        yield


if __name__ == "__main__":
    sys.exit(run_service("bench.bare", BareConfig, running, sys.argv[1:]))
