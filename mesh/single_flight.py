"""Shares one piece of work among all who ask for it at once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs at most one piece of work for each key at a time; whoever asks meanwhile waits for the same result."""

    def __init__(self) -> None:
        """Start with nothing under way."""
        self._flights: dict[K, asyncio.Future[V]] = {}

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Return what the work for the key gives, or raise what it raises.

        A caller who gives up does not take the result away from the others.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(work())
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(flight)

    def _land(self, key: K, flight: asyncio.Future[V]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # looked at, so that asyncio does not complain when every caller has gone
