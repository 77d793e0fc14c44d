"""A test that leaves something behind fails itself, not whichever test runs when it is found."""

import asyncio
import functools
import gc
import inspect
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
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
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Have a test fail if tasks that it started go on after it."""
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = _ending_its_tasks(pyfuncitem.obj)


def _threads_since(before: set[threading.Thread]) -> list[threading.Thread]:
    """Return the new threads; gRPC keeps threads of its own, which are daemons.

    What a thread starts that was there before, such as a server's for all tests of a module, is that one's to end.
    """
    others = before - {threading.main_thread()}
    new = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    return [thread for thread in new if _STARTED_BY.get(thread) not in others]


def _ending_its_tasks(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def watched(*args: Any, **kwargs: Any) -> None:
        before = asyncio.all_tasks()
        await test(*args, **kwargs)
        if left := asyncio.all_tasks() - before:  # cancelled ones may need a moment
            _, left = await asyncio.wait(left, timeout=_PATIENCE_SECONDS)
        assert not left, f"the test left tasks behind: {left}"

    return watched
