"""Channels whose calls are part of the trace of the call that is being answered."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import grpc
from opentelemetry.trace import SpanKind, Tracer, get_current_span

from mesh.channels.adapter import ChannelAdapter, Opener
from mesh.channels.core import core_of, status_of
from mesh.telemetry.tracing.calls import begin, end, outgoing


class TracedChannel(ChannelAdapter):
    """Opens calls as a channel does. The next service hears of the trace, and a call that is recorded has a span.

    gRPC's own interceptors would hand out calls of another make, which the gateway's relays can't do with.

    Args:
        channel: What opens calls.
        tracer: Begins spans.

    """

    def __init__(self, channel: grpc.aio.Channel, tracer: Tracer) -> None:
        super().__init__(channel)
        self._tracer = tracer

    def opener(self, kind: str, method: str, *arguments: object, **settings: object) -> Opener:
        """Return what opens calls in spans."""
        return partial(self._open, method, super().opener(kind, method, *arguments, **settings))

    def _open(
        self,
        path: str,
        opens: Opener,
        *arguments: object,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        **settings: object,
    ) -> Any:  # noqa: ANN401 - the channel's own
        current = get_current_span()
        if not current.is_recording():
            return opens(*arguments, metadata=(*metadata, *outgoing(current)), **settings)
        span = begin(self._tracer, path, SpanKind.CLIENT)
        call = opens(*arguments, metadata=(*metadata, *outgoing(span)), **settings)

        core = core_of(call)

        def ended() -> None:
            status = status_of(core)
            end(span, status, fault=status is not grpc.StatusCode.OK)

        core.add_done_callback(ended)
        return call
