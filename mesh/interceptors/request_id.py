"""Gives each call a request id: the caller's, or a new one."""

import grpc
import structlog

from mesh import request_id
from mesh.interceptors.wrapping import Continuation, Handler


class RequestIdInterceptor(grpc.aio.ServerInterceptor):
    """Adopts the caller's `x-request-id`, so that log lines join across services, and starts the call's log context."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Adopt the id. It stays for the whole call: grpc.aio runs interceptors and handler in one task."""
        metadata = handler_call_details.invocation_metadata or ()
        presented = next((value for key, value in metadata if key == request_id.KEY), None)
        adopted = request_id.adopt(presented if isinstance(presented, str) else None)
        structlog.contextvars.bind_contextvars(request_id=adopted)
        return await continuation(handler_call_details)
