"""Channels to backends, whose unary calls are leaner than those of grpc.aio."""

from typing import Any

from mesh.channels.adapter import ChannelAdapter
from mesh.channels.core import unary_opener


class BackendChannel(ChannelAdapter):
    """Opens streams as a channel of grpc.aio does, and unary calls that run in the task that waits for them."""

    def unary_unary(self, method: str, *_arguments: Any, **_settings: Any) -> Any:  # noqa: ANN401 - as its opener
        """Return what opens calls of a method, from bytes to bytes: `UnaryCall`."""
        return unary_opener(self._inner, method)
