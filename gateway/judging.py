"""What judges calls, wired together: for the gateway's own doors, and for Envoy, which asks about those that it has."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import grpc

from gateway.checkpoint import Checkpoint
from gateway.exchange import TIMEOUT_SECONDS, ExchangeClient
from gateway.exchange_cache import ExchangeCache
from gateway.interceptor import CheckpointInterceptor, currently_shown
from gateway.limits import Limits, Room
from gateway.metrics import GatewayMetrics
from gateway.restrictions_in_force import RestrictionsInForce
from gateway.revocations import SILENCE_SECONDS, Hear, RevocationWatch
from mesh.access.descriptors import Method
from mesh.background import working
from mesh.channels.channel import open_channel
from mesh.channels.renewed_channel import renewed_channel
from mesh.channels.service_config import service_config
from mesh.config import ChannelConfig
from mesh.serving.reflection import ReflectionHandler
from mesh.telemetry.tracing.untraced import Tracing
from policy.routes import Route, compile_routes, restrictable
from policy.sources.contracts import Contracts, read_contracts
from policy.sources.gateway_config import RESTRICTIONS, REVOCATIONS, GatewayConfig, ListenerConfig


@dataclass(frozen=True, slots=True)
class Judging:
    """What judges calls.

    Attributes:
        config: The gateway's configuration.
        contracts: What the backends' contracts declare.
        routes: The methods behind the gateway, by their path.
        checkpoints: The checkpoint of each door, by its name.
        limits: How much callers may do.
        rooms: The calls of each door, by its name.
        cache: The exchanges that are kept.
        restrictions: What is taken away for now.

    """

    config: GatewayConfig
    contracts: Contracts
    routes: Mapping[str, Route]
    checkpoints: Mapping[str, Checkpoint]
    limits: Limits
    rooms: Mapping[str, Room]
    cache: ExchangeCache
    restrictions: RestrictionsInForce
    _auth: grpc.aio.Channel

    def interceptor(self, listener: ListenerConfig) -> CheckpointInterceptor:
        """Return what stands in front of the handlers of a door."""
        return CheckpointInterceptor(
            self.checkpoints[listener.name],
            self.limits,
            self.rooms[listener.name],
            listener.client_types,
            self.config.call_timeout_seconds,
        )

    def reflection(self, *listeners: ListenerConfig) -> ReflectionHandler:
        """Return what describes the services of which doors have a method, each caller those that it may call."""
        services = {
            route.method.service
            for route in self.routes.values()
            if any(route.reachable_by(listener.client_types) for listener in listeners)
        }
        return ReflectionHandler({each: self.contracts.declared[each] for each in sorted(services)}, currently_shown)

    @asynccontextmanager
    async def following(
        self, report: Callable[[str, bool], object], hear: Hear | None = None
    ) -> AsyncIterator[GatewayMetrics]:
        """Follow what is revoked and restricted, as long as the context lasts; yield what there is to tell of it.

        Args:
            report: Is told what goes by a name, as health checks ask for it, and whether all is well with it.
            hear: Is told what is revoked, once it is in force here.

        """
        watch = RevocationWatch(self._auth, self.cache, time.monotonic, partial(report, REVOCATIONS), hear)
        async with working(watch.run()), self.restrictions.following(partial(report, RESTRICTIONS)):
            yield GatewayMetrics(self.cache, watch, self.limits, self.rooms, self.restrictions)


@asynccontextmanager
async def judging(
    config: GatewayConfig, traces: Tracing, exchange_timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncIterator[Judging]:
    """Wire together what judges calls; it can be asked as long as the context lasts.

    Args:
        config: Of the gateway.
        traces: What exchanges are recorded in.
        exchange_timeout_seconds: How long a call waits for the auth server, also for it to come back.

    Raises:
        ConfigError: If a file is missing or wrong, or contracts and configuration do not fit.

    """
    contracts = read_contracts(config)
    routes = compile_routes(config, contracts.methods)
    restrictions = RestrictionsInForce(config.restrictions, *restrictable(config, routes))
    await restrictions.load()
    limits = Limits(config.limits, routes, time.monotonic)
    cache = ExchangeCache(
        capacity=config.exchange_cache_entries, grace_seconds=config.revocation_grace_seconds, clock=time.monotonic
    )
    async with AsyncExitStack() as stack:
        auth = await stack.enter_async_context(
            renewed_channel(config.auth, partial(_open_auth, config.auth, contracts.methods))
        )
        exchange = ExchangeClient(traces.channel(auth), cache, time.monotonic, exchange_timeout_seconds)
        checkpoints, rooms = dict[str, Checkpoint](), dict[str, Room]()
        for listener in config.listeners:
            at_door = restrictions.at(listener.name) if config.restrictions else None
            checkpoints[listener.name] = Checkpoint(routes, exchange, at_door)
            rooms[listener.name] = Room(listener.server.max_concurrent_calls, config.limits.max_address_calls)
        yield Judging(config, contracts, routes, checkpoints, limits, rooms, cache, restrictions, auth)


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
