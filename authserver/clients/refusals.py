"""What is remembered of failed client authentications, in bounded memory: so that who fails often is slowed down."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from authserver.audit.trail import Trail
from mesh.calls.peers import network_of
from mesh.storage.database import Database
from mesh.throttle import Throttle

_MAX_KEYS = 50_000  # of each throttle, about 250 bytes each
_MAX_COUNTED = 10_000
_ID_LENGTH = 64  # of every id that there is; what is longer need not be told apart


@dataclass(slots=True)
class _Counts:
    """The refusals of some time: how many, and hashes of the ids and of the addresses."""

    refused: int = 0
    client_ids: set[int] = field(default_factory=set)
    addresses: set[int] = field(default_factory=set)

    def details(self) -> dict[str, str]:
        return {
            "count": str(self.refused),
            "client_ids": _distinct(self.client_ids),
            "addresses": _distinct(self.addresses),
        }


class Refusals:
    """Remembers failed client authentications. A success leaves no trace here and needs no leave.

    Args:
        burst: How many failures of one client id, or from one address, are answered before they are throttled.
        refill_seconds: How long it takes until one more is.
        clock: Seconds that never go back.

    """

    def __init__(self, burst: int, refill_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address = Throttle(burst, refill_seconds, _MAX_KEYS)
        self._by_client_id = Throttle(burst, refill_seconds, _MAX_KEYS)
        self._counts = _Counts()

    def note(self, client_id: str, address: str) -> float:
        """Note a failure; return 0, or if there were too many, in how many seconds there may be another one.

        Args:
            client_id: As it was presented.
            address: Where the call came from. Of IPv6, one network of 64 bits counts as one address.

        """
        now, client_id, network = self._clock(), client_id[:_ID_LENGTH], network_of(address)
        self._counts.refused += 1
        _count(self._counts.client_ids, client_id)
        _count(self._counts.addresses, network)
        # A throttled address takes nothing from the clients' buckets, so it can't use up what others may do.
        return self._by_address.take(network, now) or self._by_client_id.take(client_id, now)

    async def write(self, database: Database, trail: Trail) -> None:
        """Add a line to the audit log that counts the failures since the last one, if there were any.

        Raises:
            DatabaseUnavailable: If the database can't be reached; they go on being counted.

        """
        counts, self._counts = self._counts, _Counts()
        if not counts.refused:
            return
        details = counts.details()
        try:
            await database.run(
                lambda connection: trail.record(
                    connection, "authserver", "client_authentication.refused", "clients", (), **details
                )
            )
        except BaseException:  # also if this task is cancelled: better counted twice than not at all
            self._counts.refused += counts.refused
            self._counts.client_ids |= counts.client_ids
            self._counts.addresses |= counts.addresses
            raise


def _count(known: set[int], value: str) -> None:
    if len(known) < _MAX_COUNTED:
        known.add(hash(value))


def _distinct(known: set[int]) -> str:
    return str(len(known)) if len(known) < _MAX_COUNTED else f"{_MAX_COUNTED} or more"
