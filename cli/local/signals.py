"""Ends what a command does when it is asked to stop."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def until_signal(work: Coroutine[None, None, T]) -> T | None:
    """Run until done, or until a signal asks to stop, whatever is under way then; None if it was stopped."""
    task = asyncio.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        return await task
    return None
