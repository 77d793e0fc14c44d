"""Wires the checkpoint together that Envoy asks."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from envoy_plane.authorization import AuthorizationServicer
from envoy_plane.doors import Doors
from envoy_plane.kept_decisions import KeptDecisions, KeptDecisionsServicer, RecentRevocations
from envoy_plane.outsiders import OutsidersInterceptor
from envoy_plane.processing import ExternalProcessorServicer
from gateway.exchange import TIMEOUT_SECONDS
from gateway.judging import judging
from mesh.config import ConfigError
from mesh.interceptors.peers import PeerInterceptor
from mesh.serving.server import Server, Service
from mesh.telemetry.metrics import Metrics
from mesh.telemetry.tracing.tracing import tracing
from policy.sources.gateway_config import GatewayConfig

NAME = "checkpoint"


@asynccontextmanager
async def running(config: GatewayConfig, exchange_timeout_seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[Server]:
    """Run the checkpoint as long as the context lasts.

    Args:
        config: Of the gateway, with its part for Envoy.
        exchange_timeout_seconds: How long a call waits for the auth server, also for it to come back.

    Raises:
        ConfigError: If a file is missing or wrong, contracts and configuration do not fit, or the address is taken.

    """
    if config.envoy is None:
        raise ConfigError("the configuration has no part `envoy`, which says where the checkpoint listens")
    async with AsyncExitStack() as stack:
        traces = await stack.enter_async_context(tracing(config.tracing, NAME))
        judges = await stack.enter_async_context(judging(config, traces, exchange_timeout_seconds))
        doors, kept, revocations = Doors(judges), KeptDecisions(judges), RecentRevocations()
        workloads = frozenset(config.envoy.workloads)
        services = [
            Service.of(servicer, workloads, silent=isinstance(servicer, KeptDecisionsServicer))
            for servicer in (
                AuthorizationServicer(doors, kept),
                ExternalProcessorServicer(doors),
                KeptDecisionsServicer(judges, kept, revocations),
            )
        ]
        metrics = Metrics(config.metrics_listen, judges.routes)
        server = Server(
            config.envoy.server,
            services,
            [
                *traces.interceptors(trusting=True),
                PeerInterceptor({service.name: service.workloads for service in services}),
                OutsidersInterceptor(
                    {each.name: judges.interceptor(each) for each in config.listeners}, config.call_timeout_seconds
                ),
            ],
            reflection=judges.reflection(*config.listeners),
            observers=[*metrics.observers, *traces.observers()],
        )
        told = await stack.enter_async_context(
            judges.following(lambda name, serving: server.report(name, serving=serving), revocations.hear)
        )
        await stack.enter_async_context(metrics.served(told))
        stack.push_async_callback(server.stop)
        await server.start()
        yield server
