"""Wires the gateway together."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from gateway.checkpoint import Checkpoint
from gateway.config import GatewayConfig, ListenerConfig
from gateway.exchange import TokenExchange
from gateway.exchange_cache import ExchangeCache
from gateway.interceptor import CheckpointInterceptor
from gateway.policy import Route, compile_routes
from gateway.proxy import Proxy
from gateway.revocations import SILENCE_SECONDS, RevocationWatch
from mesh.access.descriptors import PolicyError, own_contracts, read_methods
from mesh.channel import open_channel
from mesh.config import ConfigError
from mesh.lifecycle import working
from mesh.server import Server

NAME = "gateway"
# What health checks ask for to learn whether revocations arrive.
REVOCATIONS = "sekisho.gateway.Revocations"


@asynccontextmanager
async def running(config: GatewayConfig) -> AsyncIterator[Sequence[Server]]:
    """Run the gateway as long as the context lasts; there is a server for each listener, in their order.

    Raises:
        ConfigError: If a file is missing or wrong, contracts and configuration do not fit, or an address is taken.

    """
    contracts = own_contracts()
    try:
        routes = compile_routes(config, read_methods(contracts))
    except PolicyError as error:
        raise ConfigError(str(error)) from error
    async with AsyncExitStack() as stack:
        auth = await stack.enter_async_context(
            open_channel(
                config.auth,
                # A new watch on a connection that is half open would hear nothing either, so that must be noticed. The
                # question is put well before the watch is given up: between two watches there is none.
                keepalive_seconds=SILENCE_SECONDS / 2,
                keepalive_timeout_seconds=SILENCE_SECONDS,
            )
        )
        channels = {
            backend.name: await stack.enter_async_context(open_channel(backend.channel)) for backend in config.backends
        }
        cache = ExchangeCache(
            capacity=config.exchange_cache_entries,
            grace_seconds=config.revocation_grace_seconds,
            clock=time.monotonic,
        )
        checkpoint = Checkpoint(routes, TokenExchange(auth, cache, time.monotonic))
        proxy = Proxy(routes.values(), channels, config.call_timeout_seconds)
        servers = [
            Server(
                listener.server,
                [],
                [CheckpointInterceptor(checkpoint, listener.client_types)],
                contracts=contracts,
                reflected=_reachable_services(routes, listener),
                fallback=proxy,
            )
            for listener in config.listeners
        ]
        watch = RevocationWatch(auth, cache, time.monotonic, partial(_report, servers))
        await stack.enter_async_context(working(watch.run()))
        stack.push_async_callback(_stop_all, servers)
        for server in servers:
            await server.start()
        yield servers


async def _report(servers: Sequence[Server], connected: bool) -> None:  # noqa: FBT001 - as the watch calls it
    """Tell health checks whether revocations are heard."""
    for server in servers:
        await server.report(REVOCATIONS, serving=connected)


async def _stop_all(servers: Sequence[Server]) -> None:
    """Close all doors at once, so that none lets calls in while another still drains."""
    await asyncio.gather(*(server.stop() for server in servers))


def _reachable_services(routes: Mapping[str, Route], listener: ListenerConfig) -> list[str]:
    reachable = (route.method.service for route in routes.values() if route.reachable_by(listener.client_types))
    return sorted(set(reachable))
