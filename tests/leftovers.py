"""A test that leaves something behind fails itself, not whichever test runs when it is found."""

import asyncio
import functools
import gc
import inspect
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.waiting import until

_PATIENCE_SECONDS = 10.0
_STARTED_BY = weakref.WeakKeyDictionary[threading.Thread, threading.Thread]()


def pytest_configure() -> None:
    """Write down by which thread each thread is started."""
    start = threading.Thread.start

    @functools.wraps(start)
    def start_and_remember(thread: threading.Thread) -> None:
        _STARTED_BY[thread] = threading.current_thread()
        start(thread)

    threading.Thread.start = start_and_remember  # type: ignore[assignment,method-assign]


def pytest_collection_finish() -> None:
    """Take what importing left out of the collector's sight, so that to look after each test costs little."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Have the last look, which pytest itself takes, see everything."""
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind_by_a_module() -> Iterator[None]:
    """Fail the last test of a module if fixtures that served the whole of it did not close what they opened.

    What was there before the module is none of its tests', so looking after each of them need not go through it.
    """
    gc.freeze()
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test whose threads go on, or that did not close what it opened: sockets, files, databases, loops.

    It is set up before the test's own fixtures and ends after them. What was not closed warns as it is collected, and a
    warning is an error.
    """
    before = set(threading.enumerate())
    yield
    until(lambda: not _threads_since(before), _PATIENCE_SECONDS)
    gc.collect()


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module, name: str, obj: object) -> None:
    """Have `no_task_left_behind` look after each test that is a coroutine; the others can't use it."""
    if inspect.iscoroutinefunction(obj) and collector.istestfunction(obj, name):
        pytest.mark.usefixtures("no_task_left_behind")(obj)


@pytest.fixture
async def no_task_left_behind(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Fail a test if tasks that it or its own fixtures started go on after them.

    What a fixture that serves several tests starts meanwhile, on the same loop, can't be told from what a test starts.
    """
    before = _tasks()
    yield
    if _shares_its_loop(request.node):
        return
    if left := _tasks() - before:  # cancelled ones may need a moment
        _, left = await asyncio.wait(left, timeout=_PATIENCE_SECONDS)
    assert not left, f"the test left tasks behind: {left}"


def _shares_its_loop(test: pytest.Function) -> bool:
    fixtures = (each[-1] for each in test._fixtureinfo.name2fixturedefs.values())  # noqa: SLF001 - there is no public way
    return any(each.scope != "function" and inspect.isasyncgenfunction(each.func) for each in fixtures)


def _tasks() -> set[asyncio.Task[Any]]:
    """Return all tasks but this one, and the one in which the plugin waits for it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in tasks if getattr(task.get_coro(), "__name__", "") != "_call_in_runner_task"}


def _threads_since(before: set[threading.Thread]) -> list[threading.Thread]:
    """Return the new threads; gRPC keeps threads of its own, which are daemons.

    What a thread starts that was there before, such as a server's for all tests of a module, is that one's to end.
    """
    others = before - {threading.main_thread()}
    new = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    # A loop's own end with the loop, which may serve a whole module; one that is not closed warns.
    new = [thread for thread in new if not thread.name.startswith("asyncio_")]
    return [thread for thread in new if _STARTED_BY.get(thread) not in others]
