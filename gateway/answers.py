"""Hands what backends answer on to callers, byte for byte."""

import asyncio
from typing import Any, NoReturn

import grpc

from gateway.errors import BackendFault, BackendUnavailable
from gateway.forwarding import returned_metadata
from mesh.calls.call_record import CallRecord, Metadata
from mesh.calls.wrapping import Context
from mesh.channels.core import UnaryCall

# In the words of gRPC's core where a backend's answer is beyond the channel's limit.
_TOO_MUCH_METADATA = "received metadata size exceeds"
# What a client takes that sets no limit: in Java, and most of the time in C++ and Python. Status, content type and the
# like take less than is set aside for them here. A short message costs less than it would be to look at it.
_DEFAULT_LIMIT_BYTES, _SHORT_BYTES, _ENTRY_BYTES = 8 * 1024 - 512, 1024, 32
_CUT = "..."


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
    """End the call as the backend ended it; speak for a backend that can't be reached, or can't be understood."""
    trailing, message = tuple(error.trailing_metadata() or ()), error.details() or ""
    if error.code() == grpc.StatusCode.UNAVAILABLE and not trailing:
        # Most likely made by the transport here; its words name the backend's address, no business of the caller's.
        raise BackendUnavailable(
            "the service can't be reached, or broke off; an idempotent call may be tried again"
        ) from error
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_MUCH_METADATA in message and not trailing:
        raise BackendFault("the service's answer has more metadata than the gateway takes") from error
    returned = returned_metadata(trailing)
    await context.abort(error.code(), _shortened(message, returned), returned)


def _shortened(message: str, trailing: Metadata) -> str:
    """Return a status's message, cut so that clients with gRPC's default limit get the status itself."""
    if len(message) <= _SHORT_BYTES:
        return message
    room = _DEFAULT_LIMIT_BYTES - sum(len(key) + len(value) + _ENTRY_BYTES for key, value in trailing)
    room = max(_SHORT_BYTES, room)
    for index, character in enumerate(message):
        # Percent-encoded, each byte beyond printable ASCII takes three.
        room -= (
            1 if character.isascii() and character.isprintable() and character != "%" else 3 * len(character.encode())
        )
        if room < 0:
            return f"{message[:index]}{_CUT}"
    return message
