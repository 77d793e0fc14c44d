"""Hands calls on to the backends, byte for byte: no message is ever parsed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import grpc

from gateway.errors import BackendFault, BackendUnavailable
from gateway.forwarding import forwarded_metadata
from gateway.interceptor import current_admission
from gateway.policy import Route
from mesh import request_id
from mesh.interceptors.wrapping import Context, Handler

if TYPE_CHECKING:  # as in mesh.interceptors.wrapping
    _Call: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
_Forward: TypeAlias = Callable[[bytes, Context], Awaitable[bytes]]


class Proxy(grpc.GenericRpcHandler):
    """Handles the methods of the backends.

    Args:
        routes: The methods to hand on.
        channels: To the backends, by their name.
        timeout_seconds: The longest that a call may take.

    """

    def __init__(
        self, routes: Iterable[Route], channels: Mapping[str, grpc.aio.Channel], timeout_seconds: float
    ) -> None:
        """Prepare a handler for each method."""
        self._handlers: dict[str, Handler] = {}
        for route in routes:
            path = route.method.path
            forward = _unary(channels[route.backend].unary_unary(path), timeout_seconds)
            self._handlers[path] = grpc.unary_unary_rpc_method_handler(forward)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the method's handler; None if no backend serves it."""
        return self._handlers.get(handler_call_details.method)


def _unary(call: "_Call", timeout_seconds: float) -> _Forward:
    async def forward(request: bytes, context: Context) -> bytes:
        metadata = forwarded_metadata(context.invocation_metadata() or (), current_admission().private_token)
        remaining = context.time_remaining()
        rpc = call(
            request,
            metadata=(*metadata, *request_id.outgoing()),
            timeout=timeout_seconds if remaining is None else min(remaining, timeout_seconds),
        )
        try:
            response: bytes | None = await rpc
        except grpc.aio.AioRpcError as error:
            await _relay(error, context)
        if response is None:  # grpc.aio's way to say that the stream ended before a message
            raise BackendFault("the service gave no answer")
        if initial := await rpc.initial_metadata():
            await context.send_initial_metadata(tuple(initial))
        context.set_trailing_metadata(tuple(await rpc.trailing_metadata()))
        return response

    return forward


async def _relay(error: grpc.aio.AioRpcError, context: Context) -> NoReturn:
    """End the call as the backend ended it; speak for a backend that can't be reached."""
    trailing = tuple(error.trailing_metadata() or ())
    if error.code() == grpc.StatusCode.UNAVAILABLE and not trailing:
        # Made by the transport here; its words name the backend's address, which is no business of the caller's.
        raise BackendUnavailable("the service can't be reached now; try again") from error
    if initial := error.initial_metadata():
        await context.send_initial_metadata(tuple(initial))
    await context.abort(error.code(), error.details() or "", trailing)
