"""Stands in front of every handler of one door: nothing passes that the checkpoint does not admit."""

from contextvars import ContextVar

import grpc

from gateway.checkpoint import Checkpoint
from gateway.exchange_cache import Exchanged
from mesh.access.descriptors import service_of
from mesh.access.rules import ClientType
from mesh.infrastructure import INFRASTRUCTURE_SERVICES
from mesh.interceptors.wrapping import Context, Continuation, Handler

_exchanged: ContextVar[Exchanged | None] = ContextVar("exchanged")


def current_exchange() -> Exchanged | None:
    """Return what the current call's access token was exchanged for; None if the method is public."""
    return _exchanged.get()


class CheckpointInterceptor(grpc.aio.ServerInterceptor):
    """Asks the checkpoint about each call, before its first message is read.

    Health and reflection, which the gateway answers itself, are public.

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
        """Return the handler of an admitted call, with its exchange at hand; else one that refuses."""
        path = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is not None and service_of(path) in INFRASTRUCTURE_SERVICES:
            return handler
        try:
            _exchanged.set(
                await self._checkpoint.admit(path, self._admitted, handler_call_details.invocation_metadata or ())
            )
        except Exception as error:  # noqa: BLE001 - a fault must close the door, and is answered like any other
            return _refusal(error)
        return handler


def _refusal(error: Exception) -> Handler:
    """Return a handler that raises, for the error translation around it, without reading what the caller sends."""

    async def refuse(_requests: object, _context: Context) -> None:
        raise error

    return grpc.stream_stream_rpc_method_handler(refuse)
