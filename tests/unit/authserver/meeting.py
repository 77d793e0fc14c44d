"""Makes transactions meet that would rarely do so by themselves."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, text

from mesh.storage.database import Database

PATIENCE_SECONDS = 60.0

T = TypeVar("T")


def overlap(
    database: Database,
    first: Callable[[Connection], T],
    second: Callable[[Connection], T],
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[T, T]:
    """Begin a second unit of work before the first commits; return both results.

    The first commits once the second can't go on without it; on SQLite it can't even begin. What the second raises goes
    through.
    """
    with ThreadPoolExecutor(1) as thread:
        with database.engine.begin() as connection:
            one = first(connection)
            other = thread.submit(database.run_here, second)
            if database.engine.name == "postgresql":
                wait_for_a_lock(database)
            meanwhile()
            assert not other.done()
        return one, other.result(PATIENCE_SECONDS)


def wait_for_a_lock(database: Database) -> None:
    """Wait until a transaction waits for another one's lock."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not database.read_here(lambda connection: connection.execute(waiting).scalar_one()):
        assert time.monotonic() < deadline
