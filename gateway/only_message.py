"""Reads the one message of calls that have one."""

import asyncio
from typing import Any

import grpc

from gateway.errors import IncompleteRequest
from mesh.calls.call_record import CallRecord, current_call
from mesh.calls.deadlines import time_left
from mesh.calls.wrapping import Context, Handler


async def only_message(record: CallRecord, context: Context, seconds: float) -> bytes:
    """Return the one message of a call that takes one, and count it in the call's record.

    Raises:
        IncompleteRequest: If it does not come, or not within some seconds.

    """
    remaining = time_left(context)
    try:
        if remaining is not None and remaining <= seconds:  # gRPC itself will end the call in time
            request: bytes | object = await context.read()
        else:
            async with asyncio.timeout(seconds):
                request = await context.read()
    except TimeoutError:
        request = grpc.aio.EOF
    if not isinstance(request, bytes):
        raise IncompleteRequest("the call has no whole message")
    record.request_messages, record.request_bytes = 1, len(request)
    return request


def reading_one(handler: Handler, seconds: float) -> Handler:
    """Return a handler that reads one message itself, in place of one that is given its bytes; any other as it is.

    For the latter grpc.aio waits, however long, before it calls anything that could end the call.
    """
    behavior: Any = handler.unary_unary or handler.unary_stream
    if behavior is None:
        return handler

    async def answer(_requests: object, context: Context) -> Any:  # noqa: ANN401 - any message, or none
        return await behavior(await only_message(current_call(), context, seconds), context)

    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(answer, None, handler.response_serializer)
    return grpc.stream_unary_rpc_method_handler(answer, None, handler.response_serializer)
