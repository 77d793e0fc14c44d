"""gRPC servers: TLS, health, reflection, limits, and a graceful end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mesh import tls
from mesh.config import ConfigError, ServerConfig
from mesh.infrastructure import HEALTH_SERVICE
from mesh.interceptors.access_log import AccessLogInterceptor
from mesh.interceptors.errors import ErrorInterceptor
from mesh.interceptors.messages import MessageInterceptor
from mesh.interceptors.request_id import RequestIdInterceptor
from mesh.reflection import ReflectionHandler

_OUTER_INTERCEPTORS = (
    RequestIdInterceptor(),  # first: whatever is logged inside carries the id
    AccessLogInterceptor(),  # sees the status that goes out, refusals included
    ErrorInterceptor(),  # makes that status of whatever the rest raises
)


@dataclass(frozen=True, slots=True)
class Service:
    """A servicer and how it is registered.

    Attributes:
        name: The service's full name, `package.Service`.
        register: The generated `add_…Servicer_to_server`.
        servicer: What implements it.

    """

    name: str
    register: Callable[[Any, Any], None]
    servicer: object


class Server:
    """A gRPC server on one address, with health (grpc.health.v1) and reflection (v1 and v1alpha).

    Args:
        config: Where and how to listen.
        services: What to serve.
        interceptors: What stands between the error translation, which every server has, and the handlers; the first
            is the outermost.
        contracts: Where the services to be reflected are declared.
        reflected: Their full names.
        fallback: Handles the methods that no service does.

    """

    def __init__(
        self,
        config: ServerConfig,
        services: Sequence[Service],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        *,
        contracts: FileDescriptorSet,
        reflected: Sequence[str],
        fallback: grpc.GenericRpcHandler | None = None,
    ) -> None:
        """Assemble the server, and open its port. Calls are answered after `start`.

        Raises:
            ConfigError: If the address can't be listened on.

        """
        self._drain_seconds = config.drain_seconds
        self._health = health.aio.HealthServicer()
        self._names = [service.name for service in services]
        self._server = grpc.aio.server(
            # Messages are read last: what is wrong with them is for those who may call the method.
            interceptors=[*_OUTER_INTERCEPTORS, *interceptors, MessageInterceptor()],
            options=_options(config),
            maximum_concurrent_rpcs=config.max_concurrent_calls,
        )
        for service in services:
            service.register(service.servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection = ReflectionHandler(contracts, [*reflected, HEALTH_SERVICE])
        self._server.add_generic_rpc_handlers([reflection, *([fallback] if fallback else [])])
        try:
            self.port = self._server.add_secure_port(config.listen, tls.server_credentials(config))
        except RuntimeError as error:
            raise ConfigError(f"can't listen on {config.listen}: is the port taken?") from error

    async def start(self) -> None:
        """Answer calls, and say so to health checks."""
        await self._server.start()
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def report(self, name: str, *, serving: bool) -> None:
        """Tell health checks that ask for a name, other than a service's, how it stands with what is called so."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(name, status)

    async def stop(self) -> None:
        """Tell health checks, take no new calls, and let those under way end within the time configured."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._drain_seconds)


def _options(config: ServerConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.absolute_max_metadata_size", 32 * 1024),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Clients may ping to keep a connection alive; gRPC's own default takes offence at more than one in 300 s. The
        # gateway pings an auth server that says nothing every second.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
        # A second process on the same port is a mistake, which the system should report.
        ("grpc.so_reuseport", 0),
    ]
