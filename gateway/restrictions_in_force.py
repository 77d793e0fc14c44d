"""The restrictions in force, which follow their file while the gateway runs."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mesh.access.decision import Verdict
from mesh.access.narrowing import Narrowings, Restrictions
from mesh.access.rules import ClientType, MethodRule
from mesh.background import forever, working
from mesh.calls.call_record import current_call
from mesh.config import ConfigError
from mesh.file_changes import FileChanges
from policy.sources.restriction_reader import read_apart

_LOOK_SECONDS = 1.0

_log = structlog.get_logger()


class RestrictionsInForce:
    """Keeps what a file said when it last made sense.

    Args:
        file: The restrictions; None if there are none.
        rules: The rules of the methods behind the gateway that have one, by their path.
        doors: The client types that each door admits, by its name.

    Attributes:
        file_digest: SHA-256 of the file that is in force, in hexadecimal; empty without one.
        since: When that came into force, in seconds of the epoch.
        entries: How many entries it has.
        current: Whether the file, as it was last seen, is in force.
        reloads_done: How often a changed file came into force.
        reloads_failed: How often one did not, as it made no sense.
        refused: How many calls each restriction refused since then. Of several that refuse a call, one is counted.
        would_refuse: How many calls each that only reports would have refused since then.

    """

    def __init__(
        self, file: Path | None, rules: Mapping[str, MethodRule], doors: Mapping[str, frozenset[ClientType]]
    ) -> None:
        self._file = file
        self._rules = rules
        self._doors = doors
        self._changes = FileChanges([file])
        self._stale = False
        self._wake = asyncio.Event()
        # Replaced as a whole: no call sees a part of it.
        self._restrictions: Restrictions = {door: {} for door in doors}
        self.file_digest = ""
        self.since = 0.0
        self.entries = 0
        self.current = True
        self.reloads_done = 0
        self.reloads_failed = 0
        self.refused = Counter[str]()
        self.would_refuse = Counter[str]()

    def at(self, door: str) -> "RestrictionsAtDoor":
        """Return what is in force at a door, whatever that is at the time of asking."""
        return RestrictionsAtDoor(self, door)

    def found(self, door: str, path: str) -> Narrowings | None:
        """Return what is taken away from a method at a door."""
        return self._restrictions[door].get(path)

    async def load(self) -> None:
        """Bring the file into force.

        Raises:
            ConfigError: If it makes no sense; then all stays as it was.

        """
        if self._file is None:
            return
        answer = await read_apart(self._file, self._rules, self._doors)
        self._restrictions = answer.restrictions
        self.file_digest, self.entries, self.since = answer.digest, answer.entries, time.time()
        self.refused.clear()  # there is one for each name, and each new file may bring new names
        self.would_refuse.clear()

    @asynccontextmanager
    async def following(
        self, report: Callable[[bool], object], look_seconds: float = _LOOK_SECONDS
    ) -> AsyncIterator[None]:
        """Follow the file as long as the context lasts: read it when it has changed, and on SIGHUP.

        Args:
            report: Is told whether the file is in force, at first, and after each reading.
            look_seconds: How often the file is looked at.

        """
        if self._file is None:
            yield
            return
        report(self.current)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._ask)
        try:
            async with working(forever(lambda: self._look(report), look_seconds, self._wake)):
                yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    def _ask(self) -> None:
        self._stale = True
        self._wake.set()

    async def _look(self, report: Callable[[bool], object]) -> None:
        """Load the file anew if it has changed, or somebody asked for it."""
        if not (self._changes.any() or self._stale):
            return
        self._stale = False
        try:
            await self.load()
        except ConfigError as error:
            self.current = False
            self.reloads_failed += 1
            _log.error("the new restrictions are not good, so the old ones stay", error=str(error))
        except BaseException:
            self._stale = True  # whatever it was, it was not the file
            raise
        else:
            self.current = True
            self.reloads_done += 1
            _log.info("restrictions reloaded", entries=self.entries, sha256=self.file_digest)
        report(self.current)


class RestrictionsAtDoor:
    """What is in force at one door, at the time of asking."""

    def __init__(self, in_force: RestrictionsInForce, door: str) -> None:
        self._in_force = in_force
        self._door = door

    def on(self, path: str) -> Narrowings | None:
        """Return what is taken away from a method; None if nothing is."""
        return self._in_force.found(self._door, path)

    def count(self, verdict: Verdict) -> None:
        """Count the current call for the restrictions that refuse it, or would, which its record is to name."""
        if verdict.passes:
            self._in_force.would_refuse.update(verdict.restrictions)
            current_call().would_refuse = verdict.restrictions
        elif verdict.restrictions:
            self._in_force.refused[verdict.restrictions[0]] += 1
