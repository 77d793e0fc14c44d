import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from mesh.database import Database
from mesh.shared_commits import SharedCommits

PATIENCE_SECONDS = 10
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

    def _count(self, _: Connection) -> None:
        self.commits += 1

    def together(self, *works: Work) -> list[Future[Any]]:
        """Submit units so that they are queued all at once."""
        busy, go_on = threading.Event(), threading.Event()

        def wait(_: Connection) -> None:
            busy.set()
            assert go_on.wait(PATIENCE_SECONDS)

        first = self.shared.submit(wait)
        assert busy.wait(PATIENCE_SECONDS)
        futures = [self.shared.submit(work) for work in works]
        go_on.set()
        first.result(PATIENCE_SECONDS)
        return futures

    def ids(self) -> list[int]:
        with contextlib.closing(sqlite3.connect(self.file)) as other:
            return [number for (number,) in other.execute("SELECT id FROM t ORDER BY id")]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path)
    yield writer
    writer.shared.close()
    writer.database.close()


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
    assert writer.shared.submit(insert(3)).result(PATIENCE_SECONDS) == 3


def test_a_unit_that_is_cancelled_in_the_queue_does_not_run(writer: Writer) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        busy.set()
        assert go_on.wait(PATIENCE_SECONDS)

    first = writer.shared.submit(wait)
    assert busy.wait(PATIENCE_SECONDS)
    given_up, other = writer.shared.submit(insert(1)), writer.shared.submit(insert(2))
    assert given_up.cancel()
    go_on.set()
    assert results([first, other]) == [None, 2]
    assert writer.ids() == [2]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_unit_that_raises_what_is_no_exception_does_not_end_the_writing(writer: Writer, error: BaseException) -> None:
    one, _, two = writer.together(insert(1), insert(2, error), insert(3))
    with contextlib.suppress(FutureTimeoutError):
        one.result(1)
    assert [one.done(), two.done()] == [True, True]
    assert writer.shared.submit(insert(4)).result(1) == 4
    assert writer.ids() == [1, 3, 4]


def test_closing_runs_what_is_queued(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    futures = writer.together(*(insert(number) for number in range(1, 6)))
    writer.shared.close()
    assert [future.result(0) for future in futures] == [1, 2, 3, 4, 5]
    writer.database.close()


def test_a_unit_submitted_after_closing_does_not_wait_for_ever(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.shared.close()
    writer.database.close()
    try:
        late = writer.shared.submit(insert(1))
    except RuntimeError:
        return  # refusing is right
    assert late.exception(0.5) is not None
