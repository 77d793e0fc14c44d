"""Stands in front of every handler of one door: nothing passes that the checkpoint does not admit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import grpc

from gateway.checkpoint import Admission, Checkpoint
from mesh.access.decision import require_reachable
from mesh.access.descriptors import service_of
from mesh.access.rules import ClientType
from mesh.interceptors.wrapping import Context, Continuation, Handler, wrap
from mesh.server import INFRASTRUCTURE_SERVICES

_admission: ContextVar[Admission] = ContextVar("admission")


def current_admission() -> Admission:
    """Return what the current call was admitted with."""
    return _admission.get()


class CheckpointInterceptor(grpc.aio.ServerInterceptor):
    """Asks the checkpoint about each call. Health and reflection, which the gateway answers itself, are public.

    Args:
        checkpoint: Who judges.
        admitted: The client types that this door lets in.

    """

    def __init__(self, checkpoint: Checkpoint, admitted: frozenset[ClientType]) -> None:
        """Remember checkpoint and door."""
        self._checkpoint = checkpoint
        self._admitted = admitted

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler; where there is none, refuse as the checkpoint does."""
        path = handler_call_details.method
        handler = await continuation(handler_call_details)
        if service_of(path) in INFRASTRUCTURE_SERVICES and handler is not None:
            return handler

        @asynccontextmanager
        async def admit(context: Context) -> AsyncIterator[None]:
            _admission.set(await self._checkpoint.admit(path, self._admitted, context.invocation_metadata() or ()))
            yield

        return wrap(handler or _NOT_FOUND, admit)


async def _not_found(_requests: object, _context: Context) -> bytes:
    require_reachable(None, frozenset())
    return b""


_NOT_FOUND: Handler = grpc.stream_unary_rpc_method_handler(_not_found)
