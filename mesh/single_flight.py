"""Shares one piece of work among all who ask for it at once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs at most one piece of work for each key at a time; whoever asks meanwhile waits for the same result."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Return what the work for the key gives, or raise what it raises.

        A caller who gives up does not take the result away from the others. With the last one the work is given up,
        too: else those who ask and leave at once would have ever more of it done.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(work()))
            flight.work.add_done_callback(lambda _: self._land(key, flight))
        flight.callers += 1
        try:
            return await asyncio.shield(flight.work)
        finally:
            flight.callers -= 1
            if not flight.callers and not flight.work.done():
                self._forget(key, flight)  # whoever asks next begins anew
                flight.work.cancel()

    def _land(self, key: K, flight: "_Flight[V]") -> None:
        self._forget(key, flight)
        if not flight.work.cancelled():
            flight.work.exception()  # looked at, so that asyncio does not complain when every caller has gone

    def _forget(self, key: K, flight: "_Flight[V]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight(Generic[V]):
    __slots__ = ("callers", "work")

    def __init__(self, work: asyncio.Future[V]) -> None:
        self.work = work
        self.callers = 0
