"""Runs the tests here over and over for as long as `make fuzz` is to look."""

import itertools
import time

import pytest

from tests.fuzz.effort import MINUTES


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run rounds of all tests, each with cases of its own, until the time is over or one fails."""
    if not MINUTES or session.testsfailed or session.config.option.collectonly:
        return None
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    start, items = time.monotonic(), session.items
    for number in itertools.count(1):
        for item, following in zip(items, [*items[1:], items[0]], strict=True):
            minutes = (time.monotonic() - start) / 60
            if minutes > MINUTES:
                return True
            reporter.ensure_newline()
            reporter.write(f"{minutes:5.1f} of {MINUTES:g} minutes, round {number}: {item.name} ", flush=True)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return True
        # A mesh that was taken down can't be had again in one session: further rounds stay on the one that runs.
        items = [item for item in items if "sqlite" not in item.name]
    return True
