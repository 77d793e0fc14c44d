"""Logs each call, once, when it ends."""

import time

import grpc
import structlog

from mesh.interceptors.wrapping import Context, Continuation, Handler, Proceed, wrap
from mesh.peers import peer_of

_log = structlog.get_logger()

# What load balancers and supervisors ask for all the time says nothing about traffic.
_SILENT_SERVICE = "/grpc.health.v1.Health/"


class AccessLogInterceptor(grpc.aio.ServerInterceptor):
    """Writes one line a call: method, peer, status, milliseconds, and what inner layers bound to the log context."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler."""
        start = time.perf_counter()
        handler = await continuation(handler_call_details)
        if handler_call_details.method.startswith(_SILENT_SERVICE):
            return handler

        async def log(context: Context, proceed: Proceed) -> object:
            status = grpc.StatusCode.CANCELLED.name
            try:
                answer = await proceed()
                status = _status_name(context)
            except grpc.aio.AbortError:
                status = _status_name(context)
                raise
            finally:
                milliseconds = round((time.perf_counter() - start) * 1000, 3)
                _log.info(
                    "call",
                    method=handler_call_details.method,
                    peer=peer_of(context),
                    status=status,
                    milliseconds=milliseconds,
                )
            return answer

        return wrap(handler, log)


def _status_name(context: Context) -> str:
    code = context.code()
    if isinstance(code, int):  # grpc.aio hands back the number, 0 if nothing was set
        return next(status.name for status in grpc.StatusCode if status.value[0] == code)
    return grpc.StatusCode.OK.name if code is None else code.name
