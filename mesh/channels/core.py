"""What is below grpc.aio: the one place that reaches into it."""

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
from grpc.aio import AioRpcError, Metadata

_Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]
_STATUSES = {status.value[0]: status for status in grpc.StatusCode}


def unary_opener(channel: grpc.aio.Channel, method: str) -> Callable[..., "UnaryCall"]:
    """Return what opens calls of a method, from bytes to bytes, that run in the task that waits for them.

    Around the same call of gRPC's core, grpc.aio puts a task of its own, a set of weak references, and metadata that is
    sorted by its keys and copied on every step.

    Args:
        channel: A channel of grpc.aio itself.
        method: The path.

    """
    core: Any = channel._channel  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    path = method.encode()

    def opens(request: bytes, *, metadata: _Pairs, timeout: float) -> UnaryCall:
        return UnaryCall(core.call(path, time.time() + timeout, None, None), request, metadata)

    return opens


def core_of(call: Any) -> Any:  # noqa: ANN401 - has no public type
    """Return the call of gRPC's core that a call of grpc.aio, or one of these, is made around."""
    return call._cython_call  # noqa: SLF001 - what grpc.aio offers ends a call otherwise, or is a coroutine


def status_of(core: Any) -> grpc.StatusCode:  # noqa: ANN401 - has no public type
    """Return the status of a call of gRPC's core that has ended."""
    return _STATUSES[core._status.code()]  # noqa: SLF001 - the public way to it is a coroutine


class UnaryCall:
    """A call with one message there and one back, that begins when its answer is awaited.

    Attributes:
        initial_metadata: What came before the answer; like the next, known with it.
        trailing_metadata: What came after it.

    """

    __slots__ = ("_cython_call", "_metadata", "_request", "initial_metadata", "trailing_metadata")

    def __init__(self, core: Any, request: bytes, metadata: _Pairs) -> None:  # noqa: ANN401 - has no public type
        self._cython_call = core  # by grpc.aio's own name, for `core_of`
        self._request = request
        self._metadata = metadata
        self.initial_metadata: _Pairs = ()
        self.trailing_metadata: _Pairs = ()

    async def answer(self) -> bytes | None:
        """Return the answer; None if the backend ended the call well without one. To cancel this cancels the call.

        Raises:
            grpc.aio.AioRpcError: If the call ended otherwise.

        """
        core = self._cython_call
        try:
            response: bytes | None = await core.unary_unary(self._request, self._metadata)
        except BaseException:
            if not core.done():
                core.cancel("nobody waits for the answer")
            raise
        status = core._status  # noqa: SLF001 - the public way to it, and to the next, is a coroutine
        self.initial_metadata = core._initial_metadata or ()  # noqa: SLF001
        self.trailing_metadata = status.trailing_metadata() or ()
        if status.code():
            raise AioRpcError(
                _STATUSES[status.code()],
                Metadata(*self.initial_metadata),
                Metadata(*self.trailing_metadata),
                status.details(),
                status.debug_error_string(),
            )
        return response
