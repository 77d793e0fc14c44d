"""The log of what runs in the test's own process."""

import json
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

import mesh.telemetry.logging


class _Calls:
    def __init__(self, lines: list[MutableMapping[str, Any]]) -> None:
        self._lines = lines

    def info(self, line: bytes) -> None:
        event = json.loads(line)
        self._lines.append({**event, "log_level": event.pop("level")})


@contextmanager
def captured() -> Iterator[list[MutableMapping[str, Any]]]:
    """Yield what is logged, calls included, with what is known of the call that it is about."""
    with (
        capture_logs([mesh.telemetry.logging.in_context, structlog.processors.format_exc_info]) as lines,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(mesh.telemetry.logging, "_lines", _Calls(lines))
        yield lines
