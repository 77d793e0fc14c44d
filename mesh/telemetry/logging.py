"""Structured logs: one JSON object a line, on standard error."""

import asyncio
import atexit
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from io import FileIO, RawIOBase
from typing import NoReturn

import grpc
import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from mesh.calls import request_id
from mesh.calls.call_record import CallRecord, current_call
from mesh.telemetry.call_line import call_line

_FLUSH_SECONDS = 0.02
_MAX_LINES = 500

# What all lines of this process say, and where they go; as long as nobody says so, calls have none.
_process = {"service": ""}
_lines: "Lines | None" = None


def configure_logging(service: str) -> None:
    """Send everything that this process logs to standard error, as JSON lines that name the service."""
    global _lines  # noqa: PLW0603 - the process's one
    _lines = lines = Lines(_standard_error())
    atexit.register(lines.flush)
    structlog.configure(
        processors=[_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    # What libraries log (grpc, sqlalchemy, alembic) takes the same form; of them only what is worth a look.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda logger, level, event: _line(logger, level, event).decode(),
            ]
        )
    )
    handler.addFilter(_concerns_us)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _process["service"] = service


def _standard_error() -> RawIOBase:
    """Return standard error without a buffer, which would keep what could not be written; nothing's if it is closed."""
    if sys.stderr is None:
        return FileIO(os.devnull, "w")
    return FileIO(sys.stderr.fileno(), "w", closefd=False)


def log_call(record: CallRecord) -> None:
    """Write the line of a call that ends now. It goes past structlog, because every call has one."""
    if _lines:
        _lines.info(call_line(record, _process["service"]))


def lost_lines() -> int:
    """Return how many lines this process could not write so far."""
    return _lines.lost if _lines else 0


class Lines:
    """Writes lines: those that inform, some at a time, at most 20 ms late; those that warn at once, after the others.

    A write for each call would cost as much as all else that is done to log it: the thread that writes gives way to
    gRPC's own. What a process that is killed has not written yet is lost. So is what can't be written, because the disk
    is full or the reader has gone: whoever logs goes on as if it had been.

    Args:
        file: Where to. It keeps nothing back, and may write a part of what it is given.

    Attributes:
        lost: How many lines could not be written.

    """

    def __init__(self, file: RawIOBase) -> None:
        self.lost = 0
        self._file = file
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._flushing: asyncio.AbstractEventLoop | None = None  # that will do so
        self._torn = False  # the last line in the file has no end

    def info(self, line: bytes) -> None:
        """Write a line soon; at once where no event loop runs."""
        self._waiting.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None or len(self._waiting) >= _MAX_LINES:
            self.flush()
        elif loop is not self._flushing:
            self._flushing = loop
            loop.call_later(_FLUSH_SECONDS, self.flush)

    def warning(self, line: bytes) -> None:
        """Write a line now."""
        self._waiting.append(line)
        self.flush()

    debug = info
    error = critical = exception = warning

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._flushing = None
            waiting, self._waiting = self._waiting, []
            if waiting:
                self._write(b"".join([b"\n" * self._torn, *(line + b"\n" for line in waiting)]))

    def _write(self, text: bytes) -> None:
        written = 0
        try:
            while written < len(text):
                written += self._file.write(text[written:]) or _nothing_written()
        except (OSError, ValueError):  # the latter says that the file is closed
            self.lost += text.count(b"\n", max(written, self._torn))
        if written:
            self._torn = text[written - 1 : written] != b"\n"


def _nothing_written() -> NoReturn:
    raise BlockingIOError("the file takes nothing now")


def in_context(_logger: WrappedLogger, _level: str, event: EventDict) -> EventDict:
    """Add to what is logged the request, the client and the trace that it is about, as far as they are known."""
    if not (adopted := request_id.current()):
        return event
    return {"request_id": adopted, **current_call().client(), **event}


def _concerns_us(record: logging.LogRecord) -> bool:
    """Leave out that a caller was gone before its answer: grpc.aio, or asyncio for it, calls that an error.

    The call's own line says so. A batch of operations that could not even begin has another text: that is a fault.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, grpc.aio.InternalError) and str(error).startswith('Failed "execute_batch"'))


def _line(logger: WrappedLogger, level: str, event: EventDict) -> bytes:
    """Return the line. One step, where structlog would have five, which take twice the time."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, level, event)
    line = {**_process, **in_context(logger, level, event), "level": level, "timestamp": datetime.now(UTC)}
    try:
        return msgspec.json.encode(line, enc_hook=repr)
    except UnicodeEncodeError:  # a text has half a character, as one that was read as UTF-8 by force may
        return msgspec.json.encode({key: ascii(value) for key, value in line.items()})
