"""What stands between gRPC and the handlers of methods: interceptors, each put around a handler once."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import grpc

if TYPE_CHECKING:  # grpc's classes are generic to type checkers only; messages of any type pass through
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
    Context = grpc.aio.ServicerContext
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]
# Runs the handler; returns the answer, None where answers are streamed.
Proceed: TypeAlias = Callable[[], Awaitable[Any]]
# Does something before or after, or raises instead; returns what the handler returned.
Around: TypeAlias = Callable[[Context, Proceed], Awaitable[Any]]

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


class Interceptors(grpc.aio.ServerInterceptor):
    """The interceptors of a server, as the one that gRPC sees: it would run each for each call.

    Args:
        interceptors: The first is the outermost.

    """

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        """Intercept nothing yet."""
        self._inside_out = tuple(reversed(interceptors))
        self._intercepted: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Return what the interceptors make of the method's handler, which is the same for all of its calls."""
        path = handler_call_details.method
        if (intercepted := self._intercepted.get(path)) is not None:
            return intercepted
        found = await continuation(handler_call_details)
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

    async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
        return await around(context, partial(run, request, context))

    return rebuilt(handler, answer, handler.request_deserializer)


def rebuilt(handler: Handler, behavior: Any, request_deserializer: Callable[[bytes], Any] | None) -> Handler:  # noqa: ANN401 - one of four kinds
    """Return a handler of the same kind with another behavior and another deserializer."""
    kind = handler.request_streaming, handler.response_streaming
    return _KINDS[kind](behavior, request_deserializer, handler.response_serializer)


def _writing(behavior: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Awaitable[None]]:
    """Return a coroutine that writes its answers to the context, where the behavior may be a generator of them."""

    async def write_all(request: Any, context: Context) -> None:  # noqa: ANN401 - any message
        responses = behavior(request, context)
        if isinstance(responses, Awaitable):
            await responses
            return
        async for response in responses:
            await context.write(response)

    return write_all
