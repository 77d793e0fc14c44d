"""A real gateway for methods of all four kinds, which no contract of Sekisho's own has, and a caller at its door."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import msgspec

from gateway.backend_channel import BackendChannel
from gateway.checkpoint import Checkpoint
from gateway.exchange import ExchangeClient
from gateway.exchange_cache import ExchangeCache
from gateway.interceptor import CheckpointInterceptor
from gateway.limits import Limits, Room
from gateway.proxy import Proxy
from mesh.access.descriptors import Method
from mesh.access.rules import PUBLIC, ClientType, MethodRule
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig, ServerConfig
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server
from policy.routes import Route
from policy.sources.gateway_config import LimitsConfig
from tests import raw_http2
from tests.unit.gateway.fake_services import FakeAuthServer, Metadata, MtlsServer, started
from tests.unit.gateway.front import PATIENCE_SECONDS, TOKEN

_RULE = MethodRule(frozenset({ClientType.PARTNER}))

UNARY = Method("/test.Streams/Unary", _RULE, client_streaming=False, server_streaming=False)
DOWN = Method("/test.Streams/Down", _RULE, client_streaming=False, server_streaming=True)
UP = Method("/test.Streams/Up", _RULE, client_streaming=True, server_streaming=False)
BOTH = Method("/test.Streams/Both", _RULE, client_streaming=True, server_streaming=True)
OPEN = Method("/test.Streams/Open", PUBLIC, client_streaming=True, server_streaming=True)

STREAMS = (DOWN, UP, BOTH)

Handle = Callable[[Any], Awaitable[None]]


async def echo(context: Any) -> None:
    """Answer each message by itself."""
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(message)


class StreamBackend(MtlsServer):
    """Handles calls of every kind by `handle`, which reads and writes by the context."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "payments")
        self.handle: Handle = echo
        self.calls: list[Metadata] = []
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.open_calls = 0

    def register(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((_AnyStream(self),))

    async def answer(self, _requests: Any, context: Any) -> None:
        self.calls.append(list(context.invocation_metadata()))
        self.open_calls += 1
        self.begun.set()
        try:
            await self.handle(context)
        except (asyncio.CancelledError, grpc.aio.InternalError):  # the latter, if the end finds it writing
            self.cancelled.set()
            raise
        finally:
            self.open_calls -= 1


class _AnyStream(grpc.GenericRpcHandler):
    def __init__(self, backend: StreamBackend) -> None:
        self._backend = backend

    def service(self, _details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._backend.answer)


@dataclass
class StreamFront:
    """The caller's view."""

    folder: Path
    auth: FakeAuthServer
    backend: StreamBackend
    server: Server
    channel: grpc.aio.Channel

    def call(
        self,
        method: Method,
        request: Any = b"",
        metadata: Metadata | tuple[()] = (),
        *,
        channel: grpc.aio.Channel | None = None,
        timeout: float | None = PATIENCE_SECONDS,
    ) -> Any:
        """Open a call. A method that takes a stream wants an iterator; if it gets none, the test is to write."""
        channel = channel or self.channel
        opens: Mapping[tuple[bool, bool], Callable[..., Any]] = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        bearer = () if method is OPEN else (("authorization", f"Bearer {TOKEN}"),)
        multi_callable = opens[method.client_streaming, method.server_streaming](method.path)
        if method.client_streaming == isinstance(request, bytes):
            request = None if method.client_streaming else b""
        return multi_callable(request, metadata=(*metadata, *bearer), timeout=timeout)

    async def post(
        self, method: Method, data: bytes | None = None, *headers: tuple[bytes, bytes], open_data: bytes = b""
    ) -> raw_http2.Answer:
        """Call by raw HTTP/2; without data the call stays open on this side."""
        bearer = [(b"authorization", f"Bearer {TOKEN}".encode()), *headers]
        ca = self.folder / "public.pem"
        return await raw_http2.post(self.server.port, ca, method.path, bearer, data, open_data=open_data)

    @asynccontextmanager
    async def caller(self, max_message_bytes: int = 4 * 1024 * 1024) -> AsyncIterator[grpc.aio.Channel]:
        """Open a connection of one's own."""
        target, ca = f"127.0.0.1:{self.server.port}", self.folder / "public.pem"
        config = ChannelConfig(target=target, ca=ca, max_message_bytes=max_message_bytes)
        async with open_channel(config) as channel:
            yield channel


@asynccontextmanager
async def stream_front(
    folder: Path,
    *,
    backend_port: int | None = None,
    call_timeout_seconds: float = 60.0,
    backend_max_message_bytes: int = 4 * 1024 * 1024,
    limits_config: LimitsConfig | None = None,
    **server_settings: Any,
) -> AsyncIterator[StreamFront]:
    """Run auth server, gateway and, if no port says that it runs already, the backend."""
    auth, backend = FakeAuthServer(folder), StreamBackend(folder)
    config = ServerConfig(
        **{"listen": "127.0.0.1:0", "drain_seconds": 5.0, **server_settings},
        certificate=folder / "door.pem",
        private_key=folder / "door-key.pem",
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(started(auth))
        if backend_port is None:
            await stack.enter_async_context(started(backend))
        else:
            backend.port = backend_port
        behind = msgspec.structs.replace(
            backend.channel_config("payments"), max_message_bytes=backend_max_message_bytes
        )
        to_backend = await stack.enter_async_context(open_channel(behind))
        to_auth = await stack.enter_async_context(open_channel(auth.channel_config("authserver")))
        routes = {method.path: Route(method, "payments") for method in (UNARY, DOWN, UP, BOTH, OPEN)}
        cache = ExchangeCache(capacity=100, grace_seconds=30.0, clock=time.monotonic)
        cache.hear(auth.position, [])
        exchange = ExchangeClient(to_auth, cache, time.monotonic)
        limits_config = limits_config or LimitsConfig()
        limits = Limits(limits_config, routes, time.monotonic)
        room = Room(config.max_concurrent_calls, limits_config.max_address_calls)
        checkpoint = Checkpoint(routes, exchange)
        server = Server(
            config,
            [],
            [CheckpointInterceptor(checkpoint, limits, room, frozenset(ClientType), call_timeout_seconds)],
            reflection=ReflectionHandler({}),
            fallback=Proxy(routes.values(), {"payments": BackendChannel(to_backend)}, call_timeout_seconds),
        )
        stack.push_async_callback(server.stop)
        await server.start()
        front = StreamFront(folder, auth, backend, server, channel=None)  # type: ignore[arg-type]
        front.channel = await stack.enter_async_context(front.caller())
        yield front
