"""Waiting for what other processes bring about."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress

_PAUSE_SECONDS = 0.02  # between two looks the processor belongs to what is waited for


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Look until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(_PAUSE_SECONDS)


def listens(port: int) -> bool:
    """Say whether somebody takes connections at a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
