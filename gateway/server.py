"""Wires the gateway together."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import grpc

from gateway.backend_channel import BackendChannel
from gateway.checkpoint import Checkpoint
from gateway.exchange import TIMEOUT_SECONDS, ExchangeClient
from gateway.exchange_cache import ExchangeCache
from gateway.interceptor import CheckpointInterceptor, currently_shown
from gateway.limits import Limits, Room
from gateway.metrics import GatewayMetrics
from gateway.proxy import Proxy
from gateway.restrictions_in_force import RestrictionsInForce
from gateway.revocations import SILENCE_SECONDS, RevocationWatch
from mesh.access.descriptors import Method
from mesh.background import working
from mesh.channels.channel import open_channel
from mesh.channels.renewed_channel import renewed_channel
from mesh.channels.service_config import service_config
from mesh.config import ChannelConfig
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server
from mesh.telemetry.metrics import Metrics
from mesh.telemetry.tracing.tracing import tracing
from policy.routes import Route, compile_routes, restrictable
from policy.sources.contracts import read_contracts
from policy.sources.gateway_config import RESTRICTIONS, REVOCATIONS, BackendConfig, GatewayConfig, ListenerConfig

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
    contracts = read_contracts(config)
    methods = contracts.methods
    routes = compile_routes(config, methods)
    restrictions = RestrictionsInForce(config.restrictions, *restrictable(config, routes))
    await restrictions.load()
    async with AsyncExitStack() as stack:
        traces = await stack.enter_async_context(tracing(config.tracing, NAME))
        auth = await stack.enter_async_context(renewed_channel(config.auth, partial(_open_auth, config.auth, methods)))
        channels = {
            backend.name: traces.channel(
                await stack.enter_async_context(
                    renewed_channel(backend.channel, partial(_open_backend, backend, routes))
                )
            )
            for backend in config.backends
        }
        cache = ExchangeCache(
            capacity=config.exchange_cache_entries,
            grace_seconds=config.revocation_grace_seconds,
            clock=time.monotonic,
        )
        limits = Limits(config.limits, routes, time.monotonic)
        exchange = ExchangeClient(traces.channel(auth), cache, time.monotonic, exchange_timeout_seconds)
        proxy = Proxy(routes.values(), channels, config.call_timeout_seconds)
        rooms = {
            listener.name: Room(listener.server.max_concurrent_calls, config.limits.max_address_calls)
            for listener in config.listeners
        }
        metrics = Metrics(config.metrics_listen, routes)
        servers = [
            Server(
                listener.server,
                [],
                [
                    *traces.interceptors(trusting=False),
                    CheckpointInterceptor(
                        Checkpoint(routes, exchange, restrictions.at(listener.name) if config.restrictions else None),
                        limits,
                        rooms[listener.name],
                        listener.client_types,
                        config.call_timeout_seconds,
                    ),
                ],
                reflection=ReflectionHandler(
                    {each: contracts.declared[each] for each in _reachable_services(routes, listener)}, currently_shown
                ),
                observers=[*metrics.observers, *traces.observers()],
                fallback=proxy,
                counted=True,
            )
            for listener in config.listeners
        ]
        watch = RevocationWatch(auth, cache, time.monotonic, partial(_report, servers, REVOCATIONS))
        await stack.enter_async_context(working(watch.run()))
        await stack.enter_async_context(restrictions.following(partial(_report, servers, RESTRICTIONS)))
        await stack.enter_async_context(metrics.served(GatewayMetrics(cache, watch, limits, rooms, restrictions)))
        stack.push_async_callback(_stop_all, servers)
        for server in servers:
            await server.start()
        yield servers


def _open_auth(config: ChannelConfig, methods: Mapping[str, Method]) -> grpc.aio.Channel:
    return open_channel(
        config,
        service_config=service_config(methods.values(), health_checked=True),
        # A new watch on a connection that is half open would hear nothing either, so that must be noticed. The question
        # is put well before the watch is given up: between two watches there is none.
        keepalive_seconds=SILENCE_SECONDS / 2,
        keepalive_timeout_seconds=SILENCE_SECONDS,
        keepalive_without_calls=True,
    )


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


def _reachable_services(routes: Mapping[str, Route], listener: ListenerConfig) -> list[str]:
    reachable = (route.method.service for route in routes.values() if route.reachable_by(listener.client_types))
    return sorted(set(reachable))
