"""The doors that Envoy has, by their names."""

from collections.abc import Mapping
from dataclasses import dataclass

from envoy_plane.asked_call import LISTENER_KEY, AskedCall
from gateway.exchange_cache import Exchanged
from gateway.judging import Judging
from gateway.limits import LimitedCall
from mesh.calls.call_record import Metadata
from mesh.calls.peers import network_at
from mesh.errors import Code, ServiceError
from policy.sources.gateway_config import ListenerConfig


class DoorUnknown(ServiceError):
    """Envoy asks about a door that the checkpoint does not know: their configurations do not fit."""

    code = Code.INTERNAL


@dataclass(frozen=True, slots=True)
class Door:
    """A listener of Envoy's, and what judges its calls."""

    listener: ListenerConfig
    judges: Judging

    def limited(self, call: AskedCall) -> LimitedCall:
        """Return a call as the limits know it; it counts as under way until it is told to end."""
        return LimitedCall(self.judges.limits, self.judges.rooms[self.listener.name], network_at(call.address))

    async def admit(self, call: AskedCall, limited: LimitedCall) -> Exchanged | None:
        """Judge a call; see `Checkpoint.admit`."""
        checkpoint = self.judges.checkpoints[self.listener.name]
        return await checkpoint.admit(call.path, self.listener.client_types, call.metadata, limited)


class Doors:
    """Finds the door that a question is about."""

    def __init__(self, judges: Judging) -> None:
        self._doors: Mapping[str, Door] = {each.name: Door(each, judges) for each in judges.config.listeners}

    def of(self, metadata: Metadata) -> Door:
        """Return the door that Envoy names.

        Raises:
            DoorUnknown: If it names none, or none of these.

        """
        for key, value in metadata:
            if key == LISTENER_KEY and isinstance(value, str) and value in self._doors:
                return self._doors[value]
        raise DoorUnknown("the checkpoint does not know this listener: render Envoy's configuration anew")
