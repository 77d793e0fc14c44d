import asyncio
import errno
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mesh.telemetry.logging import Lines

SCRIPT = """
import logging
import structlog
from mesh.telemetry.logging import configure_logging
configure_logging("test")
structlog.get_logger().info("one\\nline", detail={"a": 1})
structlog.get_logger().debug("too small")
logging.getLogger("library").warning("from a %s", "library")
logging.getLogger("library").info("too small")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("broken")
"""


def test_each_line_on_standard_error_is_a_json_object_that_names_the_service() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    own, foreign, broken = map(json.loads, done.stderr.splitlines())
    assert (own["event"], own["service"], own["level"], own["detail"]) == ("one\nline", "test", "info", {"a": 1})
    assert (foreign["event"], foreign["service"], foreign["level"]) == ("from a library", "test", "warning")
    assert "ZeroDivisionError" in broken["exception"]
    assert all(line["timestamp"].endswith("Z") for line in (own, foreign, broken))


GONE = """
import asyncio, logging, sys
from pathlib import Path
import grpc
from mesh.telemetry.logging import configure_logging
from tests.unit.mesh.echo_servers import UNARY, calling, echo_server, server_config, started, unary

folder = Path(sys.argv[1])
failures = asyncio.Queue()

async def answer(request, context):
    await context.send_initial_metadata(())
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:  # the caller has gone
        try:
            await context.write(request)
        except grpc.aio.InternalError as error:
            failures.put_nowait(error)

async def story():
    handlers = {"Unary": grpc.unary_stream_rpc_method_handler(answer)}
    async with started(echo_server(server_config(folder), handlers)) as server, calling(server, folder) as channel:
        call = channel.unary_stream(UNARY)(b"hello")
        await call.wait_for_connection()
        call.cancel()
        return await failures.get()

configure_logging("test")
gone = asyncio.run(story())
for logger in ("grpc._cython.cygrpc", "asyncio"):
    for error in (gone, grpc.aio.InternalError("Failed grpc_call_start_batch: 8"), ValueError("a fault")):
        logging.getLogger(logger).error("an error", exc_info=error)
"""


def test_a_caller_who_is_gone_before_the_answer_is_no_error_and_what_is_one_stays(certificates: Path) -> None:
    command = [sys.executable, "-c", GONE, str(certificates)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    errors = [line["exception"].splitlines()[-1] for line in lines if line["level"] == "error"]
    assert [error.partition(": ")[2] for error in errors] == ["Failed grpc_call_start_batch: 8", "a fault"] * 2


class Counted(io.BytesIO):
    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.written = asyncio.Event()

    def write(self, line: Any) -> int:
        self.writes += 1
        self.written.set()
        return super().write(line)


async def test_lines_that_inform_are_written_some_at_a_time_and_all_of_them() -> None:
    file = Counted()
    lines = Lines(file)
    for number in range(100):
        lines.info(b"%d" % number)
    assert file.getvalue() == b""
    async with asyncio.timeout(10):
        await file.written.wait()
    lines.info(b"100")
    lines.flush()
    assert file.getvalue() == b"".join(b"%d\n" % number for number in range(101))
    assert file.writes == 2


async def test_a_line_that_warns_is_written_at_once_and_in_its_order() -> None:
    file = Counted()
    lines = Lines(file)
    lines.info(b"first")
    lines.warning(b"second")
    assert file.getvalue() == b"first\nsecond\n"


def test_as_many_lines_wait_as_memory_is_meant_for_them_and_none_where_no_loop_runs() -> None:
    file = Counted()

    async def write_many(lines: Lines) -> None:
        for _ in range(1100):
            lines.info(b"x")
        assert file.getvalue().count(b"x") == 1000

    lines = Lines(file)
    asyncio.run(write_many(lines))  # the loop ends with it
    lines.info(b"y")
    assert file.getvalue().endswith(b"x\ny\n")


class Full(io.RawIOBase):
    """A file with so much room left."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.content = b""

    def write(self, text: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "no space left")
        taken = bytes(text[: self.room])
        self.content += taken
        self.room -= len(taken)
        return len(taken)


def test_lines_that_can_not_be_written_are_counted_and_the_next_begin_a_line_of_their_own() -> None:
    file = Full(room=7)
    lines = Lines(file)
    for line in (b"one", b"two", b"three"):
        lines.info(line)
    assert (file.content, lines.lost) == (b"one\ntwo", 2)
    file.room = 1_000
    lines.warning(b"four")
    lines.warning(b"five")
    assert (file.content, lines.lost) == (b"one\ntwo\nfour\nfive\n", 2)


UNWRITABLE = """
import sys, structlog
from mesh.calls.call_record import CallRecord
from mesh.telemetry.logging import configure_logging, log_call, lost_lines
configure_logging("test")
structlog.get_logger().error("lost")
log_call(CallRecord("/a.B/C"))
print(lost_lines())
"""


@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-", "2> >(true)"])
def test_whoever_logs_goes_on_where_nothing_can_be_written(redirection: str) -> None:
    wait = "; sleep 0.2" if "true" in redirection else ""  # until the reader has gone
    command = f"exec {redirection}{wait}; exec {sys.executable} -c '{UNWRITABLE.replace(chr(39), chr(34))}'"
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n" if redirection == "2>&-" else "2\n")


def test_a_line_with_half_a_character_is_written_with_what_can_be_read_of_it() -> None:
    script = SCRIPT.replace('detail={"a": 1}', 'detail="\\ud800"')
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first = json.loads(done.stderr.splitlines()[0])
    assert (first["service"], first["detail"]) == ("'test'", "'\\ud800'")
