"""gRPC servers: TLS, health, reflection, limits, and a graceful end."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from mesh.calls.call_record import Observer
from mesh.calls.infrastructure import HEALTH_SERVICE
from mesh.calls.wrapping import InterceptedHandlers, Interceptor
from mesh.config import ConfigError, ServerConfig
from mesh.interceptors.calls import CallInterceptor
from mesh.interceptors.messages import MessageInterceptor
from mesh.security import tls
from mesh.serving.health import HealthServicer
from mesh.serving.listening import stop_listening
from mesh.serving.reflection import ReflectionHandler

# How the modules that gRPC generates are called.
_STUBS = "_pb2_grpc"
# What a connection gets that says nothing: so long to complete its TLS handshake, and to acknowledge the settings. And
# when nothing comes by it, it is asked whether it is there, and then has so long to answer.
_HANDSHAKE_SECONDS, _SETTINGS_SECONDS = 10.0, 5.0
_KEEPALIVE_SECONDS, _KEEPALIVE_TIMEOUT_SECONDS = 60.0, 20.0
# How often clients may ask the same while this side sends nothing; gRPC forgives two that come sooner. Its own default
# is 300 s. The gateway asks an auth server that says nothing every second.
_PING_SECONDS = 0.5
# Where anyone may connect.
_FROM_OUTSIDE = (
    # Calls that came and are not looked at yet; of more than these, gRPC ends some at random, whoever's they are.
    ("grpc.server.max_pending_requests", 5_000),
    ("grpc.server.max_pending_requests_hard_limit", 10_000),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A servicer and how it is registered.

    Attributes:
        name: The service's full name, `package.Service`.
        register: The generated `add_…Servicer_to_server`.
        servicer: What implements it.
        workloads: The workloads that may call it, for a `PeerInterceptor`.
        silent: Whether its calls come all the time and say nothing about traffic: they are neither logged nor counted.

    """

    name: str
    register: Callable[[Any, Any], None]
    servicer: object
    workloads: frozenset[str] = frozenset()
    silent: bool = False

    @classmethod
    def of(cls, servicer: object, workloads: frozenset[str] = frozenset(), *, silent: bool = False) -> "Service":
        """Return the service that a servicer implements, by the generated class that it derives from."""
        generated = next(each for each in type(servicer).__mro__ if each.__module__.endswith(_STUBS))
        contract = sys.modules[generated.__module__.removesuffix("_grpc")].DESCRIPTOR
        name = contract.services_by_name[generated.__name__.removesuffix("Servicer")].full_name
        register = getattr(sys.modules[generated.__module__], f"add_{generated.__name__}_to_server")
        return cls(name, register, servicer, workloads, silent)


class Server:
    """A gRPC server on one address, with health (grpc.health.v1) and reflection (v1 and v1alpha).

    Args:
        config: Where and how to listen.
        services: What to serve.
        interceptors: What stands between the calls' record, which every server keeps, and the handlers; the first is
            the outermost.
        reflection: What describes services to those who ask.
        observers: Are told of each call that has ended.
        fallback: Handles the methods that no service does.
        counted: Whether an interceptor keeps the calls at once within their limit, and says why it refuses one. gRPC's
            own limit, which says nothing, then is twice as high, so that refusals have room.

    """

    def __init__(
        self,
        config: ServerConfig,
        services: Sequence[Service],
        interceptors: Sequence[Interceptor],
        *,
        reflection: ReflectionHandler,
        observers: Sequence[Observer] = (),
        fallback: grpc.GenericRpcHandler | None = None,
        counted: bool = False,
    ) -> None:
        """Assemble the server, and open its port. Calls are answered after `start`.

        Raises:
            ConfigError: If the address can't be listened on.

        """
        self._drain_seconds = config.drain_seconds
        self._lame_duck_seconds = config.lame_duck_seconds
        self._health = HealthServicer()
        self._names = [service.name for service in services]
        calls = CallInterceptor(
            observers,
            with_workloads=config.client_ca is not None,
            # gRPC's own bound holds for clients that have acknowledged it; those who never do may send sixteen
            # megabytes, or a few kilobytes that refer to as much.
            max_metadata_bytes=2 * config.max_metadata_bytes,
            silent=[HEALTH_SERVICE, *(service.name for service in services if service.silent)],
        )
        # Messages are read last: what is wrong with them is for those who may call the method.
        handlers = InterceptedHandlers([calls, *interceptors, MessageInterceptor()])
        for service in (*services, Service.of(self._health)):
            service.register(service.servicer, handlers)
        handlers.add_generic_rpc_handlers([reflection, *([fallback] if fallback else [])])
        self._server = grpc.aio.server(
            handlers=[handlers],
            options=_options(config),
            maximum_concurrent_rpcs=config.max_concurrent_calls * (2 if counted else 1),
        )
        try:
            self.port = self._server.add_secure_port(config.listen, tls.server_credentials(config))
        except RuntimeError as error:
            raise ConfigError(f"can't listen on {config.listen}: is the port taken?") from error

    async def start(self) -> None:
        """Answer calls, and say so to health checks."""
        await self._server.start()
        for name in ("", *self._names):
            self._health.set(name, serving=True)

    def report(self, name: str, *, serving: bool) -> None:
        """Tell health checks that ask for a name, other than a service's, how it stands with what is called so."""
        self._health.set(name, serving=serving)

    async def stop(self) -> None:
        """Tell health checks, take no new calls, and let those under way end, each within the time configured."""
        self._health.end()
        if self._lame_duck_seconds:
            await stop_listening(self.port)
            await asyncio.sleep(self._lame_duck_seconds)
        await self._server.stop(self._drain_seconds)


def _options(config: ServerConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server_handshake_timeout_ms", _ms(_HANDSHAKE_SECONDS)),
        # As much as there is room for in a stream whose reader is slow; gRPC would take megabytes of each.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_metadata_size", config.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", 2 * config.max_metadata_bytes),
        ("grpc.http2.settings_timeout", _ms(_SETTINGS_SECONDS)),
        ("grpc.keepalive_time_ms", _ms(_KEEPALIVE_SECONDS)),
        ("grpc.keepalive_timeout_ms", _ms(_KEEPALIVE_TIMEOUT_SECONDS)),
        ("grpc.http2.ping_timeout_ms", _ms(_KEEPALIVE_TIMEOUT_SECONDS)),
        ("grpc.http2.max_pings_without_data", 0),  # this side asks on, however silent both are
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(_PING_SECONDS)),
        ("grpc.keepalive_permit_without_calls", 1),  # clients may ask also between calls
        ("grpc.max_connection_age_ms", _ms(config.max_connection_age_seconds)),
        ("grpc.max_connection_age_grace_ms", _ms(config.max_connection_age_grace_seconds)),
        # Unless it is meant, a second process on the same port is a mistake, which the system should report.
        ("grpc.so_reuseport", int(config.share_port)),
        # A bound for one connection. Clients keep to it once they have heard of it; a burst before that would be reset.
        ("grpc.max_concurrent_streams", max(100, config.max_concurrent_calls)),
        *([] if config.client_ca else _FROM_OUTSIDE),
    ]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
