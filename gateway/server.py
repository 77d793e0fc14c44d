"""Wires the gateway together."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import grpc

from gateway.backend_channel import BackendChannel
from gateway.exchange import TIMEOUT_SECONDS
from gateway.judging import judging
from gateway.proxy import Proxy
from mesh.channels.channel import open_channel
from mesh.channels.renewed_channel import renewed_channel
from mesh.channels.service_config import service_config
from mesh.serving.server import Server
from mesh.telemetry.metrics import Metrics
from mesh.telemetry.tracing.tracing import tracing
from policy.routes import Route
from policy.sources.gateway_config import BackendConfig, GatewayConfig

NAME = "gateway"


@asynccontextmanager
async def running(
    config: GatewayConfig,
    exchange_timeout_seconds: float = TIMEOUT_SECONDS,
) -> AsyncIterator[Sequence[Server]]:
    """Run the gateway as long as the context lasts; there is a server for each listener, in their order.

    Args:
        config: Of the gateway.
        exchange_timeout_seconds: How long a call waits for the auth server, also for it to come back.

    Raises:
        ConfigError: If a file is missing or wrong, contracts and configuration do not fit, or an address is taken.

    """
    async with AsyncExitStack() as stack:
        traces = await stack.enter_async_context(tracing(config.tracing, NAME))
        judges = await stack.enter_async_context(judging(config, traces, exchange_timeout_seconds))
        channels = {
            backend.name: traces.channel(
                await stack.enter_async_context(
                    renewed_channel(backend.channel, partial(_open_backend, backend, judges.routes))
                )
            )
            for backend in config.backends
        }
        proxy = Proxy(judges.routes.values(), channels, config.call_timeout_seconds)
        metrics = Metrics(config.metrics_listen, judges.routes)
        servers = [
            Server(
                listener.server,
                [],
                [*traces.interceptors(trusting=False), judges.interceptor(listener)],
                reflection=judges.reflection(listener),
                observers=[*metrics.observers, *traces.observers()],
                fallback=proxy,
                counted=True,
            )
            for listener in config.listeners
        ]
        told = await stack.enter_async_context(judges.following(partial(_report, servers)))
        await stack.enter_async_context(metrics.served(told))
        stack.push_async_callback(_stop_all, servers)
        for server in servers:
            await server.start()
        yield servers


def _open_backend(backend: BackendConfig, routes: Mapping[str, Route]) -> grpc.aio.Channel:
    methods = [route.method for route in routes.values() if route.backend == backend.name]
    settings = service_config(methods, health_checked=backend.health_checked)
    channel = open_channel(backend.channel, service_config=settings, keepalive_seconds=backend.keepalive_seconds)
    return BackendChannel(channel)


def _report(servers: Sequence[Server], name: str, serving: bool) -> None:  # noqa: FBT001 - as watches call it
    """Tell health checks whether all is well with what goes by a name."""
    for server in servers:
        server.report(name, serving=serving)


async def _stop_all(servers: Sequence[Server]) -> None:
    """Close all doors at once, so that none lets calls in while another still drains."""
    await asyncio.gather(*(server.stop() for server in servers))
