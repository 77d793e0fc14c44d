"""Lets units of work that queue up share a commit: what makes SQLite slow to write is the commit, not the work."""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

_MOST = 32  # so that the first unit of a batch does not wait long for the last


@dataclass(frozen=True, slots=True)
class _Unit:
    work: Callable[[Connection], Any]
    future: Future[Any]


class _TransactionLost(Exception):
    """The database ended the whole transaction while one of its units ran."""


class SharedCommits:
    """One thread that runs units of work, each in a savepoint, and answers them after the commit that they share.

    A unit that raises is rolled back alone. If the shared transaction itself fails, each of its units runs again in a
    transaction of its own; so a unit may run more than once, though it takes effect once.

    Args:
        engine: Whose transactions take the write lock when they begin.

    """

    def __init__(self, engine: Engine) -> None:
        """Start the thread."""
        self._engine = engine
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="database-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], Any]) -> Future[Any]:
        """Queue a unit of work; the future has its result once that is committed, and fails after `close`."""
        unit = _Unit(work, Future())
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
                if unit is not None and unit.future.set_running_or_notify_cancel():
                    unit.future.set_exception(RuntimeError("the database is closed"))

    def _work(self) -> None:
        while (unit := self._queue.get()) is not None:
            batch = [unit]
            ended = False
            while len(batch) < _MOST and not ended:
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
        batch = [unit for unit in queued if unit.future.set_running_or_notify_cancel()]
        if len(batch) == 1 or not self._run_together(batch):
            for unit in batch:
                self._run_alone(unit)

    def _run_together(self, batch: Sequence[_Unit]) -> bool:
        """Run a batch in one transaction; return whether it was committed. If not, no unit has been answered."""
        outcomes: list[Callable[[], None]] = []
        try:
            with self._engine.begin() as connection:
                outcomes.extend(_run_in_savepoint(connection, unit) for unit in batch)
        except BaseException:  # noqa: BLE001 - whatever it was, each unit meets it again alone, and answers it
            return False
        for answer in outcomes:
            answer()
        return True

    def _run_alone(self, unit: _Unit) -> None:
        try:
            with self._engine.begin() as connection:
                result = unit.work(connection)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the unit
            unit.future.set_exception(error)
        else:
            unit.future.set_result(result)


def _run_in_savepoint(connection: Connection, unit: _Unit) -> Callable[[], None]:
    """Run a unit; return what answers it once its batch is committed."""
    # By hand: SQLAlchemy compiles the statements of its own savepoints anew each time.
    connection.exec_driver_sql("SAVEPOINT unit")
    try:
        result = unit.work(connection)
    except BaseException as error:
        if not _in_transaction(connection):
            # A full disk, for one, makes SQLite roll back everything: there is no savepoint left to go back to.
            raise _TransactionLost from error
        connection.exec_driver_sql("ROLLBACK TO unit")
        connection.exec_driver_sql("RELEASE unit")
        failure = error
        return lambda: unit.future.set_exception(failure)
    connection.exec_driver_sql("RELEASE unit")
    return lambda: unit.future.set_result(result)


def _in_transaction(connection: Connection) -> bool:
    driver: Any = connection.connection.dbapi_connection
    return bool(driver.in_transaction)
