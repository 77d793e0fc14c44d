"""Hands what backends answer on to callers, byte for byte."""

import asyncio
from typing import Any, NoReturn

import grpc

from gateway.errors import BackendFault, BackendUnavailable
from gateway.forwarding import returned_metadata
from mesh.calls.call_record import CallRecord
from mesh.calls.wrapping import Context
from mesh.channels.core import UnaryCall


async def relay_answer(call: UnaryCall, context: Context) -> bytes:
    """Return the backend's one answer, with its metadata sent; or end the call as the backend ended it."""
    try:
        response: bytes | None = await call.answer()
    except grpc.aio.AioRpcError as error:
        if initial := error.initial_metadata():
            await context.send_initial_metadata(returned_metadata(tuple(initial)))
        await _relay_error(error, context)
    if response is None:  # grpc.aio's way to say that the stream ended before a message
        raise BackendFault("the service gave no answer")
    if call.initial_metadata:
        await context.send_initial_metadata(returned_metadata(call.initial_metadata))
    if call.trailing_metadata:
        context.set_trailing_metadata(returned_metadata(call.trailing_metadata))
    return response


class AnswersRelay:
    """Hands the backend's answers on, each written before the next is read; ends as the backend ends.

    It does so in a task of its own, for a read of grpc.aio's that is cancelled never frees the message that comes to it
    (https://github.com/grpc/grpc/issues/43360). So whoever leaves cancels the call, and thereby ends the read.

    Args:
        call: To the backend.
        record: Counts the answers.
        context: The caller's call.
        only_one: Whether there must be exactly one answer. A second is not handed on: callers who read one would not
            even hear of the call's end.

    """

    def __init__(self, call: Any, record: CallRecord, context: Context, *, only_one: bool = False) -> None:  # noqa: ANN401 - a call of grpc.aio's, of any kind
        self._call = call
        self._record = record
        self._context = context
        self._only_one = only_one
        self._reading = False
        self._left = False

    async def run(self) -> None:
        """Hand on all that comes.

        Raises:
            BackendFault: If there must be exactly one answer, and there is none or a second one.
            BackendUnavailable: If the backend can't be reached, or broke off.
            grpc.aio.AbortError: If the backend ended the call otherwise, as has been told to the caller.

        """
        task = asyncio.create_task(self._run())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._left = True
            self._call.cancel()
            if not self._reading:
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # it ended by itself just now, and nobody is left to tell; else asyncio logs it
            raise

    async def _run(self) -> None:
        call, record, context = self._call, self._record, self._context
        try:
            initial = await call.initial_metadata()
            # A call that has already ended had trailers only, without headers. Clients retry such calls, so this must
            # stay so.
            if initial or not call.done():
                await context.send_initial_metadata(returned_metadata(tuple(initial or ())))
            while (message := await self._read()) is not grpc.aio.EOF:
                if self._only_one and record.response_messages:
                    raise BackendFault("the service gave more than one answer")
                await context.write(message)
                record.response_messages += 1
                record.response_bytes += len(message)
        except grpc.aio.AioRpcError as error:
            await _relay_error(error, context)
        if self._only_one and not record.response_messages:
            raise BackendFault("the service gave no answer")
        context.set_trailing_metadata(returned_metadata(tuple(await call.trailing_metadata())))

    async def _read(self) -> Any:  # noqa: ANN401 - a message, or EOF
        self._reading = True
        message = await self._call.read()
        self._reading = False
        if self._left:
            raise asyncio.CancelledError
        return message


async def _relay_error(error: grpc.aio.AioRpcError, context: Context) -> NoReturn:
    """End the call as the backend ended it; speak for a backend that can't be reached."""
    trailing = tuple(error.trailing_metadata() or ())
    if error.code() == grpc.StatusCode.UNAVAILABLE and not trailing:
        # Most likely made by the transport here; its words name the backend's address, no business of the caller's.
        raise BackendUnavailable(
            "the service can't be reached, or broke off; an idempotent call may be tried again"
        ) from error
    await context.abort(error.code(), error.details() or "", returned_metadata(trailing))
