"""A channel that wraps another one."""

from collections.abc import Callable
from typing import Any, Self, TypeAlias

import grpc

# What opens calls; the types differ with the kind of call.
Opener: TypeAlias = Callable[..., Any]


class ChannelAdapter(grpc.aio.Channel):
    """Opens calls by another channel. What wraps one derives from this, and overrides what it does otherwise.

    Args:
        channel: The other channel.

    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._inner = channel

    def opener(self, kind: str, method: str, *arguments: object, **settings: object) -> Opener:
        """Return what opens calls of a method; all four kinds of call come here.

        Args:
            kind: The name of the channel's own method, such as `unary_unary`.
            method: The path.
            arguments: What else that method takes.
            settings: The same, by name.

        """
        opener: Opener = getattr(self._inner, kind)(method, *arguments, **settings)
        return opener

    def unary_unary(self, method: str, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - as its opener
        """See `grpc.aio.Channel`."""
        return self.opener("unary_unary", method, *arguments, **settings)

    def unary_stream(self, method: str, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - as its opener
        """See `grpc.aio.Channel`."""
        return self.opener("unary_stream", method, *arguments, **settings)

    def stream_unary(self, method: str, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - as its opener
        """See `grpc.aio.Channel`."""
        return self.opener("stream_unary", method, *arguments, **settings)

    def stream_stream(self, method: str, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - as its opener
        """See `grpc.aio.Channel`."""
        return self.opener("stream_stream", method, *arguments, **settings)

    async def close(self, grace: float | None = None) -> None:
        """See `grpc.aio.Channel`."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's own
        """See `grpc.aio.Channel`."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See `grpc.aio.Channel`."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See `grpc.aio.Channel`."""
        await self._inner.channel_ready()

    async def __aenter__(self) -> Self:
        """See `grpc.aio.Channel`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `grpc.aio.Channel`."""
        await self.close()
