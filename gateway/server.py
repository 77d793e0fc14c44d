"""Wires the gateway together."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.checkpoint import Checkpoint
from gateway.config import GatewayConfig, ListenerConfig
from gateway.exchange import TokenExchange
from gateway.interceptor import CheckpointInterceptor
from gateway.policy import Route, compile_routes
from gateway.proxy import Proxy
from mesh.access.descriptors import PolicyError, own_contracts, read_methods
from mesh.channel import open_channel
from mesh.config import ConfigError
from mesh.server import Server

NAME = "gateway"


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
        auth = await stack.enter_async_context(open_channel(config.auth))
        channels = {
            backend.name: await stack.enter_async_context(open_channel(backend.channel)) for backend in config.backends
        }
        exchange = TokenExchange(
            auth,
            capacity=config.exchange_cache_entries,
            max_age_seconds=config.exchange_cache_seconds,
            clock=time.monotonic,
        )
        checkpoint = Checkpoint(routes, exchange)
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
        stack.push_async_callback(_stop_all, servers)
        for server in servers:
            await server.start()
        yield servers


async def _stop_all(servers: Sequence[Server]) -> None:
    """Close all doors at once, so that none lets calls in while another still drains."""
    await asyncio.gather(*(server.stop() for server in servers))


def _reachable_services(routes: Mapping[str, Route], listener: ListenerConfig) -> list[str]:
    reachable = (route.method.service for route in routes.values() if route.reachable_by(listener.client_types))
    return sorted(set(reachable))
