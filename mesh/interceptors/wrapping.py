"""Puts a context manager around any kind of method handler."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

if TYPE_CHECKING:  # grpc's classes are generic to type checkers only; messages of any type pass through
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
    Context = grpc.aio.ServicerContext
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]
Around: TypeAlias = Callable[[Context], AbstractAsyncContextManager[None]]


def wrap(handler: Handler | None, around: Around) -> Handler | None:
    """Return a handler of the same kind that runs inside `around(context)`; None stays None (no such method)."""
    if handler is None:
        return None
    if handler.response_streaming:
        stream: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def answer_stream(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - any message
            async with around(context):
                responses = stream(request, context)
                if isinstance(responses, Awaitable):  # the other way to write one: a coroutine that calls context.write
                    await responses
                    return
                async for response in responses:
                    yield response

        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(answer_stream, handler.request_deserializer, handler.response_serializer)

    unary: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary

    async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401 - any message
        async with around(context):
            return await unary(request, context)

    make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    return make(answer, handler.request_deserializer, handler.response_serializer)
