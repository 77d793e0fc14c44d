"""How much callers may do, over time and at once, in bounded memory."""

import enum
from collections.abc import Callable, Mapping

from gateway.errors import ConcurrencyLimitExceeded, RateLimitExceeded
from mesh.access.rules import Caller
from mesh.throttle import Throttle
from policy.routes import Route, check_limits
from policy.sources.gateway_config import LimitsConfig, RateConfig


class Anonymous(enum.Enum):
    """What calls are under way that no client answers for."""

    INFRASTRUCTURE = "health and reflection"
    PUBLIC = "public methods"
    EXCHANGE = "tokens that are being checked"


# Of a door's calls, each of the above has a quarter at most: so one is left for clients, whatever strangers do.
_SHARE = 4


class Room:
    """The calls of one door.

    Args:
        max_calls: How many may be under way.
        max_address_calls: How many of each kind may be of one address, where no client answers for them.

    """

    def __init__(self, max_calls: int, max_address_calls: int) -> None:
        self.max_calls = max_calls
        self.under_way = 0
        self.anonymous = {
            kind: _UnderWay("address", max_address_calls, max(1, max_calls // _SHARE)) for kind in Anonymous
        }


class Limits:
    """The limits that hold for all doors together.

    What is remembered of addresses and clients over time is bounded by the configuration, what is under way by the
    doors' room.

    Args:
        config: How much.
        routes: The methods behind the gateway, by their path.
        clock: Seconds that never go back.

    Raises:
        ConfigError: If a limit is for calls that nobody may make.

    """

    def __init__(
        self,
        config: LimitsConfig,
        routes: Mapping[str, Route],
        clock: Callable[[], float],
    ) -> None:
        """Start with nothing under way, and nothing done so far."""
        check_limits(config, routes)
        self.clock = clock
        self.addresses = _throttle(config.address, config.remembered)
        self.clients = _throttle(config.client, config.remembered)
        self.methods = {
            (path, client_type): _throttle(rate, 1)
            for path, rates in config.methods.items()
            for client_type, rate in rates.items()
        }
        self.calls = _UnderWay("client", config.max_client_calls)
        self.streams = _UnderWay("client", config.max_client_streams)


class LimitedCall:
    """One call, as the limits see it. It counts as under way until it is told to end.

    Args:
        limits: What holds for all doors.
        room: How full its door is.
        address: Where it came from.

    """

    __slots__ = ("_address", "_among", "_key", "_limits", "_room")

    def __init__(self, limits: Limits, room: Room, address: str) -> None:
        self._limits = limits
        self._room = room
        self._address = address
        self._among: _UnderWay | None = None
        self._key = ""

    def arrive(self) -> None:
        """Count the call for its address.

        Raises:
            RateLimitExceeded: If too many came from there.

        """
        if wait := self._limits.addresses.take(self._address, self._limits.clock()):
            raise RateLimitExceeded("address", wait)

    def begin(self, kind: Anonymous) -> None:
        """Let it be under way while no client answers for it.

        Raises:
            ConcurrencyLimitExceeded: If too many of this kind are, or the door is full.

        """
        self._enter(self._room.anonymous[kind], self._address)

    def identify(self, caller: Caller, path: str, *, streaming: bool) -> None:
        """Count it for its client, and let it be under way as one of the client's.

        Raises:
            RateLimitExceeded: If the client, or all of its type together by this method, called too often.
            ConcurrencyLimitExceeded: If too many of the client's calls or streams are under way, or the door is full.

        """
        limits = self._limits
        now = limits.clock()
        if wait := limits.clients.take(caller.client_id, now):
            raise RateLimitExceeded("client", wait)
        method = limits.methods.get((path, caller.client_type)) if limits.methods else None
        if method is not None and (wait := method.take(None, now)):
            raise RateLimitExceeded("method", wait)
        self._enter(limits.streams if streaming else limits.calls, caller.client_id)

    def end(self, _context: object = None) -> None:
        """Be under way no more; as gRPC calls it, with the call's context."""
        if self._among is not None:
            self._among.leave(self._key)
            self._among = None
            self._room.under_way -= 1

    def _enter(self, among: "_UnderWay", key: str) -> None:
        if self._among is None and self._room.under_way >= self._room.max_calls:
            raise ConcurrencyLimitExceeded("gateway")
        among.enter(key)
        if self._among is None:
            self._room.under_way += 1
        else:  # it has its place at the door, and changes its company
            self._among.leave(self._key)
        self._among, self._key = among, key


class _UnderWay:
    """Counts what is under way, of each and of all together.

    Attributes:
        counts: How much of each; of who has nothing, nothing is kept.

    """

    __slots__ = ("_all", "_max_of_all", "_max_of_each", "_whose", "counts")

    def __init__(self, whose: str, max_of_each: int, max_of_all: int | None = None) -> None:
        self._whose = whose
        self._max_of_each = max_of_each
        self._max_of_all = max_of_all
        self._all = 0
        self.counts: dict[str, int] = {}

    def enter(self, key: str) -> None:
        count = self.counts.get(key, 0)
        if count >= self._max_of_each:
            raise ConcurrencyLimitExceeded(self._whose)
        if self._max_of_all is not None and self._all >= self._max_of_all:
            raise ConcurrencyLimitExceeded("gateway")
        self.counts[key] = count + 1
        self._all += 1

    def leave(self, key: str) -> None:
        self._all -= 1
        count = self.counts[key]
        if count > 1:
            self.counts[key] = count - 1
        else:
            del self.counts[key]


def _throttle(rate: RateConfig, capacity: int) -> Throttle:
    return Throttle(rate.burst, 1 / rate.per_second, capacity)
