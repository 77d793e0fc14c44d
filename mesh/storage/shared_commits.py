"""Lets units of work that queue up share a commit: what makes SQLite slow to write is the commit, not the work."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

_MAX = 32  # so that the first unit of a batch does not wait long for the last


@dataclass(frozen=True, slots=True)
class _Unit:
    work: Callable[[Connection], Any]
    future: asyncio.Future[Any]


class _Outcome(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    error: BaseException | None


class SharedCommits:
    """One thread that runs units of work, each in a savepoint, and answers them after the commit that they share.

    A unit that raises is rolled back alone. If the shared transaction itself fails, each of its units runs again in a
    transaction of its own; so a unit may run more than once, though it takes effect once.

    Args:
        engine: Whose transactions take the write lock when they begin.

    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="database-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Queue a unit of work for the running event loop.

        The future has the result once that is committed, and fails after `close`. One that is cancelled while it is
        queued does not run.
        """
        unit = _Unit(work, asyncio.get_running_loop().create_future())
        self._queue.put(unit)
        if not self._thread.is_alive():
            self._refuse_queued()
        return unit.future

    def close(self) -> None:
        """Run what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join()
        self._refuse_queued()

    def _refuse_queued(self) -> None:
        """Answer what came too late for the thread."""
        with contextlib.suppress(queue.Empty):
            while True:
                unit = self._queue.get_nowait()
                if unit is not None:
                    _answer([_Outcome(unit.future, None, RuntimeError("the database is closed"))])

    def _work(self) -> None:
        while (unit := self._queue.get()) is not None:
            batch = [unit]
            ended = False
            while len(batch) < _MAX and not ended:
                try:
                    queued = self._queue.get_nowait()
                except queue.Empty:
                    break
                if queued is None:
                    ended = True
                else:
                    batch.append(queued)
            self._run(batch)
            if ended:
                return

    def _run(self, queued: Sequence[_Unit]) -> None:
        batch = [unit for unit in queued if not unit.future.cancelled()]
        if len(batch) == 1 or not self._run_together(batch):
            for unit in batch:
                self._run_alone(unit)

    def _run_together(self, batch: Sequence[_Unit]) -> bool:
        """Run a batch in one transaction; return whether it was committed. If not, no unit has been answered."""
        try:
            with self._engine.begin() as connection:
                outcomes = [_run_in_savepoint(connection, unit) for unit in batch]
        except BaseException:  # noqa: BLE001 - whatever it was, each unit meets it again alone, and answers it
            return False
        _answer(outcomes)
        return True

    def _run_alone(self, unit: _Unit) -> None:
        try:
            with self._engine.begin() as connection:
                result = unit.work(connection)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the unit
            _answer([_Outcome(unit.future, None, error)])
        else:
            _answer([_Outcome(unit.future, result, None)])


def _run_in_savepoint(connection: Connection, unit: _Unit) -> _Outcome:
    """Run a unit; return its outcome, which holds once the batch is committed."""
    # By the driver's own connection: these three are the same for each unit, and SQLAlchemy takes longer than they do.
    driver: Any = connection.connection.dbapi_connection
    driver.execute("SAVEPOINT unit")
    try:
        outcome = _Outcome(unit.future, unit.work(connection), None)
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the unit
        # Fails if SQLite rolled back everything, as on a full disk: there is no savepoint left to go back to.
        driver.execute("ROLLBACK TO unit")
        outcome = _Outcome(unit.future, None, error)
    driver.execute("RELEASE unit")
    return outcome


def _answer(outcomes: Sequence[_Outcome]) -> None:
    """Hand outcomes to those who wait, by one call to an event loop for all of its own: a call costs more than they."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome.future.get_loop(), []).append(outcome)
    for loop, its_own in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
            loop.call_soon_threadsafe(_settle, its_own)


def _settle(outcomes: Sequence[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():  # cancelled meanwhile
            continue
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):
            future.set_exception(RuntimeError("a unit of work raised StopIteration"))  # no future takes it
        else:
            future.set_exception(error)
