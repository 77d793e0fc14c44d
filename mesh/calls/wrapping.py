"""What stands between gRPC and the handlers of methods: interceptors, each put around a handler once."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import grpc

if TYPE_CHECKING:  # grpc's classes are generic to type checkers only; messages of any type pass through
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
    Context = grpc.aio.ServicerContext
# Answers a call, of a message or of all that come; returns the answer, None where answers are streamed.
Run: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
# Runs what it is given, and does something before or after, or raises instead.
Around: TypeAlias = Callable[[Run, Any, Context], Awaitable[Any]]

_KINDS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Interceptor(Protocol):
    """Stands before handlers."""

    def intercept(self, path: str, handler: Handler | None) -> Handler | None:
        """Return the handler to run in place of a method's; None if there is no such method.

        Args:
            path: The method, `/package.Service/Method`.
            handler: What stands behind; None if nothing does.

        """
        ...


class InterceptedHandlers(grpc.GenericRpcHandler):
    """The handlers of a server, behind its interceptors: gRPC would run its own kind of these for each call.

    Services are added to this as to a server.

    Args:
        interceptors: The first is the outermost.

    """

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._inside_out = tuple(reversed(interceptors))
        self._added: list[grpc.GenericRpcHandler] = []
        self._intercepted: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """See `grpc.aio.Server`. Of several that know a method, the first handles it."""
        self._added += handlers

    def add_registered_method_handlers(self, _service: str, _handlers: Mapping[str, Handler]) -> None:
        """See `grpc.aio.Server`. Does nothing: generated code adds the same methods by generic handlers, too."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return what the interceptors make of the method's handler, which is the same for all of its calls."""
        path = handler_call_details.method
        if (intercepted := self._intercepted.get(path)) is not None:
            return intercepted
        found = next(filter(None, (each.service(handler_call_details) for each in self._added)), None)
        handler = found
        for interceptor in self._inside_out:
            handler = interceptor.intercept(path, handler)
        if found is not None and handler is not None:  # nothing is kept of the names that strangers think of
            self._intercepted[path] = handler
        return handler


def wrap(handler: Handler | None, around: Around) -> Handler | None:
    """Return a handler of the same kind that runs inside `around`; None stays None (no such method)."""
    if handler is None:
        return None
    behavior: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    run = _writing(behavior) if handler.response_streaming else behavior
    return rebuilt(handler, partial(around, run), handler.request_deserializer)


def rebuilt(handler: Handler, behavior: Any, request_deserializer: Callable[[bytes], Any] | None) -> Handler:  # noqa: ANN401 - one of four kinds
    """Return a handler of the same kind with another behavior and another deserializer."""
    kind = handler.request_streaming, handler.response_streaming
    return _KINDS[kind](behavior, request_deserializer, handler.response_serializer)


def _writing(behavior: Callable[[Any, Context], Any]) -> Run:
    """Return a coroutine that writes its answers to the context, where the behavior may be a generator of them."""

    async def write_all(request: Any, context: Context) -> None:  # noqa: ANN401 - any message
        responses = behavior(request, context)
        if isinstance(responses, Awaitable):
            await responses
            return
        async for response in responses:
            await context.write(response)

    return write_all
