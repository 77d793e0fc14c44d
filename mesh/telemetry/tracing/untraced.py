"""What a service is wired with that does not trace."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import grpc

from mesh.calls.call_record import Observer
from mesh.calls.wrapping import Interceptor

# As `mesh.storage.database` wants it; a process without a database does not load that.
AroundUnit: TypeAlias = Callable[[str, Callable[..., Any]], AbstractContextManager[None]]


class Tracing:
    """What a service is wired with. This one does not trace: everything is what it is without, and costs as much."""

    def interceptors(self, *, trusting: bool) -> Sequence[Interceptor]:
        """Return what begins the spans of calls, to be put before a server's own interceptors.

        Args:
            trusting: Whether the caller's word counts on whether a call is recorded. A stranger's must not: the share
                alone counts then.

        """
        del trusting
        return ()

    def observers(self) -> Sequence[Observer]:
        """Return what ends the spans of calls."""
        return ()

    def channel(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        """Return what opens the same calls, each in a span."""
        return channel

    def around_units(self) -> AroundUnit | None:
        """Return what makes spans of the units of work of a `Database`."""
        return None
