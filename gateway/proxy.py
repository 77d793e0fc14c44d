"""Hands calls of all four kinds on to the backends, byte for byte: no message is ever parsed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, TypeAlias

import grpc

from gateway.answers import AnswersRelay, relay_answer
from gateway.exchange_cache import Exchanged
from gateway.forwarding import forwarded_metadata
from gateway.interceptor import current_exchange
from gateway.only_message import only_message
from mesh.calls import request_id
from mesh.calls.call_record import CallRecord, current_call
from mesh.calls.deadlines import time_left
from mesh.calls.wrapping import Context, Handler
from mesh.channels.core import core_of
from policy.routes import Route

# What opens a call to a backend: a multi-callable of grpc.aio; the type of what it returns differs with the kind.
_Open: TypeAlias = Callable[..., Any]
_Forward: TypeAlias = Callable[[object, Context], Awaitable[bytes | None]]


class Proxy(grpc.GenericRpcHandler):
    """Handles the methods of the backends.

    If a handler takes one message, grpc.aio never answers a call that ends before its message is whole. So each handler
    here takes a stream, and reads one message itself where the method takes one. It reads by the context: the iterator
    that grpc.aio offers too costs each call a task more, and can't be read again after its end.

    Args:
        routes: The methods to hand on.
        channels: To the backends, by their name.
        timeout_seconds: The longest that a unary call may take, and that the one message of a caller may be on its way.

    """

    def __init__(
        self, routes: Iterable[Route], channels: Mapping[str, grpc.aio.Channel], timeout_seconds: float
    ) -> None:
        """Prepare a handler for each method, of the method's own kind: unary calls cost less than streams."""
        self._handlers = {
            route.method.path: _handler(route, channels[route.backend], timeout_seconds) for route in routes
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the method's handler; None if no backend serves it."""
        return self._handlers.get(handler_call_details.method)


def _handler(route: Route, channel: grpc.aio.Channel, timeout_seconds: float) -> Handler:
    method = route.method
    if method.client_streaming:  # the answers of both kinds look the same on the wire
        return grpc.stream_stream_rpc_method_handler(
            _stream_stream(channel.stream_stream(method.path), server_streaming=method.server_streaming)
        )
    if method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(_unary_stream(channel.unary_stream(method.path), timeout_seconds))
    return grpc.stream_unary_rpc_method_handler(_unary_unary(channel.unary_unary(method.path), timeout_seconds))


def _unary_unary(opens: _Open, timeout_seconds: float) -> _Forward:
    async def forward(_requests: object, context: Context) -> bytes:
        record = current_call()
        request = await only_message(record, context, timeout_seconds)
        exchanged = current_exchange()
        if exchanged:
            exchanged.require_lasting(time.monotonic())
        remaining = time_left(context)
        timeout = timeout_seconds if remaining is None else min(remaining, timeout_seconds)
        start = time.perf_counter()
        try:
            call = opens(request, metadata=_metadata(record, exchanged), timeout=timeout)
            response = await relay_answer(call, context)
        finally:
            record.backend_seconds = time.perf_counter() - start
        record.response_messages, record.response_bytes = 1, len(response)
        return response

    return forward


def _unary_stream(opens: _Open, timeout_seconds: float) -> _Forward:
    async def forward(_requests: object, context: Context) -> None:
        record = current_call()
        request = await only_message(record, context, timeout_seconds)
        async with _open_stream(opens, record, context, request) as call:
            await AnswersRelay(call, record, context).run()

    return forward


def _stream_stream(opens: _Open, *, server_streaming: bool) -> _Forward:
    async def forward(_requests: object, context: Context) -> None:
        record = current_call()
        async with _open_stream(opens, record, context) as call, _pumping(record, context, call):
            await AnswersRelay(call, record, context, only_one=not server_streaming).run()

    return forward


def _metadata(record: CallRecord, exchanged: Exchanged | None) -> tuple[tuple[str, str | bytes], ...]:
    private_token = None if exchanged is None else exchanged.private_token
    forwarded = forwarded_metadata(record.metadata, private_token, record.address)
    return (*forwarded, (request_id.KEY, record.request_id))


@asynccontextmanager
async def _open_stream(opens: _Open, record: CallRecord, context: Context, *request: bytes) -> AsyncIterator[Any]:
    """Open a call to the backend, which ends with the caller's, however that ends, and both with the access token."""
    exchanged = current_exchange()
    async with exchanged.lasting() if exchanged else nullcontext():
        start = time.perf_counter()
        call = opens(*request, metadata=_metadata(record, exchanged), timeout=time_left(context))
        try:
            yield call
        finally:
            call.cancel()  # does nothing to a call that has ended
            record.backend_seconds = time.perf_counter() - start


@asynccontextmanager
async def _pumping(record: CallRecord, context: Context, call: Any) -> AsyncIterator[None]:  # noqa: ANN401 - as above
    """Hand the caller's messages on beside what happens in the context manager; a fault in that ends both calls."""
    handler = asyncio.current_task()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            call.cancel()  # or both sides would wait for messages that don't come

    task = asyncio.create_task(_pump(record, context, call, lambda: bool(handler and handler.cancelling())))
    task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if task.done() and not task.cancelled():
            task.result()  # raises the fault
        raise
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _pump(record: CallRecord, context: Context, call: Any, cancelled: Callable[[], bool]) -> None:  # noqa: ANN401 - as above
    """Hand the caller's messages on, and that there are no more.

    Each is written before the next is read, so a backend that reads slowly slows the caller down, not the gateway.
    """
    # A side that ended the call ends this; how it ended comes with the answers.
    with suppress(grpc.aio.AioRpcError, grpc.aio.BaseError):
        await call.wait_for_connection()
        # Not `call.write`: when one fails, it puts a status of its own over the one that the backend gave.
        core = core_of(call)
        while (message := await context.read()) is not grpc.aio.EOF:
            await core.send_serialized_message(message)
            record.request_messages += 1
            record.request_bytes += len(message)
        # For grpc.aio a call that breaks off ends like one that is complete. The difference must not be lost: the
        # backend would take a part for the whole. Of a broken one, the handler hears before a second read returns.
        await context.read()
        if not cancelled():
            await core.send_receive_close()
