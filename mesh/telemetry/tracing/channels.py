"""Channels whose calls are part of the trace of the call that is being answered."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import grpc
from opentelemetry.trace import SpanKind, Tracer, get_current_span

from mesh.telemetry.tracing.calls import begin, end, outgoing

# What opens calls; the types differ with the kind of call.
_Opener: TypeAlias = Callable[..., Any]

_STATUSES = {status.value[0]: status for status in grpc.StatusCode}


class TracedChannel:
    """Opens calls as a channel does. The next service hears of the trace, and a call that is recorded has a span.

    gRPC's own interceptors would hand out calls of another make, which the gateway's relays can't do with.

    Args:
        channel: What opens calls.
        tracer: Begins spans.

    """

    def __init__(self, channel: grpc.aio.Channel, tracer: Tracer) -> None:
        """Remember the channel."""
        self._channel = channel
        self._tracer = tracer

    def unary_unary(self, path: str, *arguments: Any, **settings: Any) -> _Opener:  # noqa: ANN401 - the channel's own
        """See `grpc.aio.Channel`."""
        return partial(self._open, path, self._channel.unary_unary(path, *arguments, **settings))

    def unary_stream(self, path: str, *arguments: Any, **settings: Any) -> _Opener:  # noqa: ANN401 - the channel's own
        """See `grpc.aio.Channel`."""
        return partial(self._open, path, self._channel.unary_stream(path, *arguments, **settings))

    def stream_unary(self, path: str, *arguments: Any, **settings: Any) -> _Opener:  # noqa: ANN401 - the channel's own
        """See `grpc.aio.Channel`."""
        return partial(self._open, path, self._channel.stream_unary(path, *arguments, **settings))

    def stream_stream(self, path: str, *arguments: Any, **settings: Any) -> _Opener:  # noqa: ANN401 - the channel's own
        """See `grpc.aio.Channel`."""
        return partial(self._open, path, self._channel.stream_stream(path, *arguments, **settings))

    def _open(
        self,
        path: str,
        opens: _Opener,
        *arguments: object,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        **settings: object,
    ) -> Any:  # noqa: ANN401 - the channel's own
        current = get_current_span()
        if not current.is_recording():
            return opens(*arguments, metadata=(*metadata, *outgoing(current)), **settings)
        span = begin(self._tracer, path, SpanKind.CLIENT)
        call = opens(*arguments, metadata=(*metadata, *outgoing(span)), **settings)

        core = call._cython_call  # noqa: SLF001 - the status that grpc.aio offers is a coroutine

        def ended() -> None:
            status = _STATUSES[core._status.code()]  # noqa: SLF001 - see above
            end(span, status, fault=status is not grpc.StatusCode.OK)

        core.add_done_callback(ended)
        return call
