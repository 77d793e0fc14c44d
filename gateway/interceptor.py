"""Stands in front of every handler of one door: nothing passes that the checkpoint does not admit."""

from contextlib import nullcontext
from contextvars import ContextVar

import grpc

from gateway.checkpoint import Checkpoint
from gateway.exchange_cache import Exchanged
from gateway.limits import Anonymous, LimitedCall, Limits, Room
from gateway.only_message import reading_one
from mesh.access.descriptors import service_of
from mesh.access.rules import ClientType
from mesh.calls.call_record import CallRecord, current_call
from mesh.calls.infrastructure import INFRASTRUCTURE_SERVICES
from mesh.calls.peers import network_at
from mesh.calls.wrapping import Context, Handler, Run, wrap
from mesh.serving.reflection import REFLECTION_METHODS

_exchanged: ContextVar[Exchanged | None] = ContextVar("exchanged")
_shown: ContextVar[frozenset[str]] = ContextVar("shown")


def current_exchange() -> Exchanged | None:
    """Return what the current call's access token was exchanged for; None if the method is public."""
    return _exchanged.get()


def currently_shown() -> frozenset[str]:
    """Return the methods that the current call to reflection may see: those that its caller may call."""
    return _shown.get()


class CheckpointInterceptor:
    """Asks the checkpoint about each call, before its first message is read.

    Health and reflection, which the gateway answers itself, are public; the latter shows more to those with a token.

    Args:
        checkpoint: Who judges.
        limits: How much callers may do.
        room: This door's.
        admitted: The client types that this door lets in.
        timeout_seconds: How long the one message of a call to health may be on its way.

    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        limits: Limits,
        room: Room,
        admitted: frozenset[ClientType],
        timeout_seconds: float,
    ) -> None:
        self._checkpoint = checkpoint
        self._limits = limits
        self._room = room
        self._admitted = admitted
        self._timeout_seconds = timeout_seconds

    def intercept(self, path: str, handler: Handler | None) -> Handler | None:
        """Return a handler that judges the call first, also where there is none: nobody is to tell one from another."""
        if handler is not None and path in REFLECTION_METHODS:
            return wrap(handler, self.reflection)
        if handler is not None and service_of(path) in INFRASTRUCTURE_SERVICES:
            return wrap(reading_one(handler, self._timeout_seconds), self.infrastructure)

        async def judged(run: Run, request: object, context: Context) -> object:
            record = current_call()
            call = self._call(record, context)
            _exchanged.set(await self._checkpoint.admit(path, self._admitted, record.metadata, call))
            return await run(request, context)

        return wrap(handler or _NOTHING, judged)

    async def reflection(self, run: Run, request: object, context: Context) -> object:
        """Let a call to reflection see what its caller may call."""
        record = current_call()
        exchanged = await self._checkpoint.recognize(record.method, record.metadata, self._call(record, context))
        _shown.set(self._checkpoint.methods_for(exchanged.caller if exchanged else None, self._admitted))
        async with exchanged.lasting() if exchanged else nullcontext():
            return await run(request, context)

    async def infrastructure(self, run: Run, request: object, context: Context) -> object:
        """Let a call to health through, as far as the limits let it."""
        call = self._call(current_call(), context)
        call.arrive()
        call.begin(Anonymous.INFRASTRUCTURE)
        return await run(request, context)

    def _call(self, record: CallRecord, context: Context) -> LimitedCall:
        """Return the call for the limits; it ends when grpc.aio is done with it.

        The handler may end long before: whoever does not read holds the call open until its answer has gone out.
        """
        call = LimitedCall(self._limits, self._room, network_at(record.address))
        context.add_done_callback(call.end)  # type: ignore[arg-type] # any callable will do
        return call


async def _unreachable(_requests: object, _context: Context) -> None:
    raise AssertionError("the checkpoint admitted a method that nobody serves")


# Reads nothing of what the caller sends, whatever it is.
_NOTHING: Handler = grpc.stream_stream_rpc_method_handler(_unreachable)
