import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from mesh.background import forever, working

PATIENCE_SECONDS = 60.0
SERVICE = """
import asyncio, sys, time
from contextlib import asynccontextmanager
from pathlib import Path
from mesh.config import Config, ConfigError
from mesh.serving.lifecycle import run_service

class ServiceConfig(Config, frozen=True):
    notes: Path
    refuse: bool = False
    drain_seconds: float = 0

@asynccontextmanager
async def running(config):
    if config.refuse:
        raise ConfigError("the port is taken")
    config.notes.write_text("running")
    try:
        yield
    finally:
        spent = time.process_time()
        await asyncio.sleep(config.drain_seconds)
        config.notes.write_text(f"stopped {time.process_time() - spent}")

sys.exit(run_service("test", ServiceConfig, running, sys.argv[1:]))
"""


class Process:
    """A service in a process of its own, with pipes to it."""

    def __init__(self, folder: Path, *arguments: str, config: str = "notes: notes\n") -> None:
        self.notes = folder / "notes"
        (folder / "service.py").write_text(SERVICE)
        (folder / "service.yaml").write_text(config)
        command = [sys.executable, str(folder / "service.py"), "--config", str(folder / "service.yaml"), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.stdin, self.stderr = _pipe(self.process.stdin), _pipe(self.process.stderr)

    def wait_until_started(self) -> None:
        for line in self.stderr:
            if json.loads(line)["event"] == "started":
                return
        raise AssertionError("the service ended before it had started")

    def end(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


@contextlib.contextmanager
def process(folder: Path, *arguments: str, config: str = "notes: notes\n") -> Iterator[Process]:
    service = Process(folder, *arguments, config=config)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()
        for pipe in (service.stdin, service.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_gracefully(tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path) as service:
        service.wait_until_started()
        assert service.notes.read_text() == "running"
        service.process.send_signal(number)
        assert service.end() == 0
        assert service.notes.read_text().startswith("stopped")


def test_a_closed_standard_input_ends_a_service_that_hangs_on_the_lifeline(tmp_path: Path) -> None:
    with process(tmp_path, "--lifeline") as service:
        service.wait_until_started()
        service.stdin.close()
        assert service.end() == 0
        assert service.notes.read_text().startswith("stopped")


def test_a_service_without_a_lifeline_does_not_care_about_standard_input(tmp_path: Path) -> None:
    with process(tmp_path) as service:
        service.stdin.close()
        service.wait_until_started()
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(0.3)
        service.process.terminate()
        assert service.end() == 0


def test_a_word_on_standard_input_does_not_end_a_service(tmp_path: Path) -> None:
    with process(tmp_path, "--lifeline") as service:
        service.wait_until_started()
        service.stdin.write(b"still here\n")
        service.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(0.3)


def test_a_service_whose_lifeline_closed_drains_without_work(tmp_path: Path) -> None:
    with process(tmp_path, "--lifeline", config="notes: notes\ndrain_seconds: 0.5\n") as service:
        service.wait_until_started()
        service.stdin.close()
        assert service.end() == 0
        assert float(service.notes.read_text().split()[1]) < 0.1


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("notes: notes\nnotse: x\n", "notse"),
        ("notes: notes\nrefuse: true\n", "the port is taken"),
    ],
)
def test_a_configuration_that_cannot_be_used_ends_with_status_2_and_says_why(
    tmp_path: Path, config: str, complaint: str
) -> None:
    with process(tmp_path, config=config) as service:
        assert service.end() == 2
        (line,) = map(json.loads, service.stderr.read().splitlines())
        assert (line["event"], line["service"], line["level"]) == ("can't start", "test", "error")
        assert complaint in line["error"]


def test_a_missing_configuration_ends_with_status_2(tmp_path: Path) -> None:
    with process(tmp_path, "--config", str(tmp_path / "none.yaml")) as service:
        assert service.end() == 2
        assert "none.yaml" in json.loads(service.stderr.read())["error"]


def test_a_wrong_command_line_ends_with_status_2(tmp_path: Path) -> None:
    with process(tmp_path, "--nonsense") as service:
        assert service.end() == 2


async def stop(worker: asyncio.Task[None]) -> None:
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker


async def test_work_is_repeated_when_it_is_woken_also_after_it_failed() -> None:
    wake, done = asyncio.Event(), asyncio.Queue[None]()

    async def work() -> None:
        done.put_nowait(None)
        raise RuntimeError

    worker = asyncio.create_task(forever(work, 3600, wake))
    await asyncio.wait_for(done.get(), PATIENCE_SECONDS)
    for _ in range(3):
        wake.set()
        await asyncio.wait_for(done.get(), PATIENCE_SECONDS)
    await stop(worker)


async def test_work_is_repeated_after_a_pause() -> None:
    done = asyncio.Queue[None]()

    async def work() -> None:
        done.put_nowait(None)

    worker = asyncio.create_task(forever(work, 0.001, asyncio.Event()))
    for _ in range(3):
        await asyncio.wait_for(done.get(), PATIENCE_SECONDS)
    await stop(worker)


async def test_a_wake_up_during_the_work_is_not_lost() -> None:
    wake, done = asyncio.Event(), list[None]()
    twice = asyncio.Event()

    async def work() -> None:
        done.append(None)
        if len(done) == 1:
            wake.set()
        else:
            twice.set()

    worker = asyncio.create_task(forever(work, 3600, wake))
    await asyncio.wait_for(twice.wait(), PATIENCE_SECONDS)
    await stop(worker)


async def test_a_worker_that_is_cancelled_in_the_moment_it_is_woken_ends() -> None:
    wake, worked = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        worked.set()

    worker = asyncio.create_task(forever(work, 3600, wake))
    await worked.wait()
    await asyncio.sleep(0.01)  # until the worker waits
    wake.set()
    worker.cancel()
    done, _ = await asyncio.wait([worker], timeout=PATIENCE_SECONDS)
    worker.cancel()
    assert done


async def test_work_goes_on_beside_what_is_done_and_ends_with_it() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with working(work()):
        await begun.wait()
        assert not ended.is_set()
    assert ended.is_set()
