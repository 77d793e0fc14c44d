"""Lets only the workloads through that a method is for."""

from collections.abc import Iterable, Mapping

import grpc

from mesh.access.descriptors import service_of
from mesh.config import ConfigError
from mesh.errors import Code, ServiceError
from mesh.infrastructure import INFRASTRUCTURE_SERVICES
from mesh.interceptors.wrapping import Context, Continuation, Handler, Proceed, wrap
from mesh.peers import workload_of
from mesh.tls import spiffe_id

# For methods that every workload of the company may call; TLS has verified that the caller is one.
ANY_WORKLOAD = frozenset({"*"})


class WorkloadNotAllowed(ServiceError):
    """The caller's workload certificate is genuine, but this method is not for it."""

    code = Code.PERMISSION_DENIED


class PeerInterceptor(grpc.aio.ServerInterceptor):
    """Checks the caller's SPIFFE id against the workloads that its method is open to.

    Args:
        allowed: Names of workloads, by service (`package.Service`) or by method (`/package.Service/Method`); the
            method's own entry wins.
        served: The services of this server; each must be in the table, and nothing else.

    Raises:
        ConfigError: If the table leaves a service out, or names one that is not served.

    """

    def __init__(self, allowed: Mapping[str, frozenset[str]], served: Iterable[str]) -> None:
        """Compare table and services, and prepare the SPIFFE ids."""
        named = {service_of(name) if name.startswith("/") else name for name in allowed}
        if misfits := named ^ set(served):
            raise ConfigError(f"the services and the table of peers do not fit: {', '.join(sorted(misfits))}")
        self._allowed = {
            name: workloads if workloads == ANY_WORKLOAD else frozenset(map(spiffe_id, workloads))
            for name, workloads in allowed.items()
        }

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler. Health and reflection any workload may ask; nobody what the table does not name."""
        method = handler_call_details.method
        of_service = ANY_WORKLOAD if service_of(method) in INFRASTRUCTURE_SERVICES else frozenset[str]()
        allowed = self._allowed.get(method, self._allowed.get(service_of(method), of_service))

        async def check(context: Context, proceed: Proceed) -> object:
            workload = workload_of(context)
            if workload is None or (workload not in allowed and allowed != ANY_WORKLOAD):
                raise WorkloadNotAllowed("this method is not for the workload that calls")
            return await proceed()

        return wrap(await continuation(handler_call_details), check)
