"""Calls of outsiders that Envoy hands to the checkpoint itself: to health and reflection."""

from collections.abc import Mapping

from envoy_plane.asked_call import LISTENER_KEY, AskedCall, socket_name
from gateway.interceptor import CheckpointInterceptor
from gateway.only_message import reading_one
from mesh.access.descriptors import service_of
from mesh.calls.call_record import Metadata, current_call
from mesh.calls.infrastructure import INFRASTRUCTURE_SERVICES
from mesh.calls.peers import FORWARDED_FOR
from mesh.calls.wrapping import Context, Handler, Run, wrap
from mesh.serving.reflection import REFLECTION_METHODS


class OutsidersInterceptor:
    """Lets outsiders call health and reflection as at the gateway's own doors. Envoy's own checks just pass.

    Args:
        doors: What stands in front of each door, by its name.
        timeout_seconds: How long the one message of a call to health may be on its way.

    """

    def __init__(self, doors: Mapping[str, CheckpointInterceptor], timeout_seconds: float) -> None:
        self._doors = doors
        self._timeout_seconds = timeout_seconds

    def intercept(self, path: str, handler: Handler | None) -> Handler | None:
        """Return a handler that judges the call by the door that it came in by."""
        if handler is None or service_of(path) not in INFRASTRUCTURE_SERVICES:
            return handler

        async def judged(run: Run, request: object, context: Context) -> object:
            record = current_call()
            door = self._doors.get(_last(record.metadata, LISTENER_KEY))
            if door is None:
                return await run(request, context)
            AskedCall(path, socket_name(_last(record.metadata, FORWARDED_FOR), 0), record.metadata).describe(record)
            around = door.reflection if path in REFLECTION_METHODS else door.infrastructure
            return await around(run, request, context)

        return wrap(reading_one(handler, self._timeout_seconds), judged)


def _last(metadata: Metadata, name: str) -> str:
    """Return the last value under a name: the one that Envoy has added."""
    values = [value for key, value in metadata if key == name and isinstance(value, str)]
    return values[-1].rpartition(",")[2].strip() if values else ""
