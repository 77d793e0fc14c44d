"""Lets only the workloads through that a method is for."""

from collections.abc import Mapping

from mesh.access.descriptors import service_of
from mesh.calls.call_record import Decision, current_call
from mesh.calls.infrastructure import INFRASTRUCTURE_SERVICES
from mesh.calls.wrapping import Context, Handler, Run, wrap
from mesh.errors import Code, ServiceError
from mesh.security.tls import spiffe_id

# For methods that every workload of the company may call; TLS has verified that the caller is one.
ANY_WORKLOAD = frozenset({"*"})


class WorkloadNotAllowed(ServiceError):
    """The caller's workload certificate is genuine, but this method is not for it."""

    code = Code.PERMISSION_DENIED


class PeerInterceptor:
    """Checks the caller's SPIFFE id against the workloads that its method is open to.

    Args:
        allowed: Names of workloads, by service (`package.Service`) or by method (`/package.Service/Method`); the
            method's own entry wins.

    """

    def __init__(self, allowed: Mapping[str, frozenset[str]]) -> None:
        """Prepare the SPIFFE ids."""
        self._allowed = {
            name: workloads if workloads == ANY_WORKLOAD else frozenset(map(spiffe_id, workloads))
            for name, workloads in allowed.items()
        }

    def intercept(self, path: str, handler: Handler | None) -> Handler | None:
        """Wrap the handler. Health and reflection any workload may ask; nobody what the table does not name."""
        of_service = ANY_WORKLOAD if service_of(path) in INFRASTRUCTURE_SERVICES else frozenset[str]()
        allowed = self._allowed.get(path, self._allowed.get(service_of(path), of_service))

        async def check(run: Run, request: object, context: Context) -> object:
            call = current_call()
            if not call.workload or (call.workload not in allowed and allowed != ANY_WORKLOAD):
                call.decision = Decision.REFUSED
                raise WorkloadNotAllowed("this method is not for the workload that calls")
            call.decision = Decision.ALLOWED
            return await run(request, context)

        return wrap(handler, check)
