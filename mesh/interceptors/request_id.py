"""Gives each call a request id: the caller's, or a new one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog

from mesh import request_id
from mesh.interceptors.wrapping import Context, Continuation, Handler, wrap


class RequestIdInterceptor(grpc.aio.ServerInterceptor):
    """Adopts the caller's `x-request-id`, so that log lines join across services, and starts the call's log context."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler."""
        return wrap(await continuation(handler_call_details), _adopt)


@asynccontextmanager
async def _adopt(context: Context) -> AsyncIterator[None]:
    presented = dict(context.invocation_metadata() or ()).get(request_id.KEY)
    adopted = request_id.adopt(presented if isinstance(presented, str) else None)
    structlog.contextvars.bind_contextvars(request_id=adopted)
    yield
