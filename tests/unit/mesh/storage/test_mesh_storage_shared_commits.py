import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, event, text

from mesh.storage.database import Database
from mesh.storage.shared_commits import SharedCommits
from tests.loop_thread import LoopThread

PATIENCE_SECONDS = 60
T = TypeVar("T")
Work = Callable[[Connection], Any]


class Writer:
    """A writing thread that is kept busy, so that what is submitted meanwhile shares a commit."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "test.db"
        self.database = Database(f"sqlite:///{self.file}")
        self.database.run_here(lambda connection: connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
        self.commits = 0
        event.listen(self.database.engine, "commit", self._count)
        self.shared = SharedCommits(self.database.engine)
        self._loop_thread = LoopThread()
        self.loop = self._loop_thread.loop

    def _count(self, _: Connection) -> None:
        self.commits += 1

    def close(self) -> None:
        self.shared.close()
        self.database.close()
        self._loop_thread.close()

    def in_loop(self, call: Callable[[], T]) -> T:
        """Call something in the event loop."""

        async def do() -> T:
            return call()

        return self._loop_thread.run(do())

    def submit(self, work: Work) -> Future[Any]:
        """Submit a unit; its future can be waited for outside the event loop."""
        answer = Future[Any]()

        def settle(settled: asyncio.Future[Any]) -> None:
            error = settled.exception()
            answer.set_result(settled.result()) if error is None else answer.set_exception(error)

        self.in_loop(lambda: self.shared.submit(work).add_done_callback(settle))
        return answer

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Keep the thread busy, so that units are queued all at once."""
        busy, go_on = threading.Event(), threading.Event()

        def wait(_: Connection) -> None:
            busy.set()
            assert go_on.wait(PATIENCE_SECONDS)

        first = self.submit(wait)
        assert busy.wait(PATIENCE_SECONDS)
        yield
        go_on.set()
        first.result(PATIENCE_SECONDS)

    def together(self, *works: Work) -> list[Future[Any]]:
        """Submit units so that they are queued all at once."""
        with self.busy():
            return [self.submit(work) for work in works]

    def ids(self) -> list[int]:
        with contextlib.closing(sqlite3.connect(self.file)) as other:
            return [number for (number,) in other.execute("SELECT id FROM t ORDER BY id")]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path)
    yield writer
    writer.close()


def insert(number: int, error: BaseException | None = None) -> Work:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO t VALUES (:id)"), {"id": number})
        if error is not None:
            raise error
        return number

    return work


def results(futures: list[Future[Any]]) -> list[Any]:
    return [future.exception(PATIENCE_SECONDS) or future.result() for future in futures]


def test_units_that_queue_up_share_a_commit(writer: Writer) -> None:
    assert results(writer.together(*(insert(number) for number in range(1, 21)))) == list(range(1, 21))
    assert writer.ids() == list(range(1, 21))
    assert writer.commits == 2


def test_more_units_than_fit_into_a_batch_all_take_effect(writer: Writer) -> None:
    assert results(writer.together(*(insert(number) for number in range(1, 101)))) == list(range(1, 101))
    assert writer.ids() == list(range(1, 101))


def test_a_unit_that_raises_is_rolled_back_alone(writer: Writer) -> None:
    error = KeyError("mine")
    found = results(writer.together(insert(1), insert(2, error), insert(3)))
    assert found == [1, error, 3]
    assert writer.ids() == [1, 3]


def test_a_unit_that_the_database_refuses_is_rolled_back_alone(writer: Writer) -> None:
    one, refused, other = writer.together(insert(1), insert(1), insert(2))
    assert results([one, other]) == [1, 2]
    assert "UNIQUE" in str(refused.exception(PATIENCE_SECONDS))
    assert writer.ids() == [1, 2]


def test_a_unit_is_answered_only_after_its_commit(writer: Writer) -> None:
    seen = list[list[int]]()
    answered = threading.Event()
    one, two = writer.together(insert(1), insert(2))

    def look(_: Future[Any]) -> None:
        seen.append(writer.ids())
        answered.set()

    one.add_done_callback(look)
    assert answered.wait(PATIENCE_SECONDS)
    assert two.result(PATIENCE_SECONDS) == 2
    assert seen == [[1, 2]]


def test_units_of_a_transaction_that_the_database_ended_run_again_alone_and_take_effect_once(writer: Writer) -> None:
    def end_all(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")  # what SQLite does by itself on a full disk
        raise OSError("disk full")

    one, broken, two = writer.together(insert(1), end_all, insert(2))
    assert results([one, two]) == [1, 2]
    assert broken.exception(PATIENCE_SECONDS) is not None
    assert writer.ids() == [1, 2]
    assert writer.submit(insert(3)).result(PATIENCE_SECONDS) == 3


def test_a_unit_that_is_cancelled_in_the_queue_does_not_run(writer: Writer) -> None:
    with writer.busy():
        given_up = writer.in_loop(lambda: writer.shared.submit(insert(1)))
        other = writer.submit(insert(2))
        assert writer.in_loop(given_up.cancel)
    assert results([other]) == [2]
    assert writer.ids() == [2]


def test_a_unit_that_is_cancelled_while_it_runs_harms_no_other(writer: Writer) -> None:
    given_up = list[asyncio.Future[Any]]()

    def cancel(connection: Connection) -> None:
        insert(1)(connection)
        writer.in_loop(given_up[0].cancel)

    with writer.busy():
        given_up.append(writer.in_loop(lambda: writer.shared.submit(cancel)))
        other = writer.submit(insert(2))
    assert results([other]) == [2]
    assert writer.ids() == [1, 2]


def test_units_of_a_batch_are_answered_by_one_call_of_the_event_loop(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, call = list[object](), writer.loop.call_soon_threadsafe

    def count(*given: Any) -> asyncio.Handle:
        calls.append(given)
        return call(*given)

    with writer.busy():
        futures = [writer.submit(insert(number)) for number in range(1, 21)]
        monkeypatch.setattr(writer.loop, "call_soon_threadsafe", count)  # from here on only the thread calls
    assert results(futures) == list(range(1, 21))
    assert len(calls) == 2  # what kept the thread busy was alone
    monkeypatch.undo()


def test_a_unit_whose_event_loop_is_gone_harms_no_other(writer: Writer) -> None:
    async def submit_and_leave() -> None:
        writer.shared.submit(insert(1))

    with writer.busy():
        asyncio.run(submit_and_leave())
        other = writer.submit(insert(2))
    assert results([other]) == [2]
    assert writer.ids() == [1, 2]


def test_a_unit_that_raises_what_no_future_takes_is_answered_all_the_same(writer: Writer) -> None:
    one, refused, two = writer.together(insert(1), insert(2, StopIteration()), insert(3))
    assert results([one, two]) == [1, 3]
    assert isinstance(refused.exception(PATIENCE_SECONDS), RuntimeError)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_unit_that_raises_what_is_no_exception_does_not_end_the_writing(writer: Writer, error: BaseException) -> None:
    one, _, two = writer.together(insert(1), insert(2, error), insert(3))
    with contextlib.suppress(FutureTimeoutError):
        one.result(1)
    assert [one.done(), two.done()] == [True, True]
    assert writer.submit(insert(4)).result(1) == 4
    assert writer.ids() == [1, 3, 4]


def test_closing_runs_what_is_queued(writer: Writer) -> None:
    futures = writer.together(*(insert(number) for number in range(1, 6)))
    writer.shared.close()
    assert results(futures) == [1, 2, 3, 4, 5]


def test_a_unit_submitted_after_closing_does_not_wait_for_ever(writer: Writer) -> None:
    writer.shared.close()
    assert isinstance(writer.submit(insert(1)).exception(PATIENCE_SECONDS), RuntimeError)
