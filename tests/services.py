"""The services of a mesh without a supervisor: each is a process that a test may have die, and start again."""

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import msgspec

from cli.home import Home
from cli.local.configurations import Ports
from cli.local.preparation import prepare
from mesh.crash_points import VARIABLE
from tests.mesh import Mesh
from tests.waiting import until

_SERVES = {"gateway": "revocations are heard"}  # it has found the auth server


class Services:
    """A home that is ready to run, and the processes that run there."""

    def __init__(self, home: Path) -> None:
        self.home = Home.at(home)
        addresses = prepare(self.home, Ports.choose(0))
        self._addresses = {name: str(value) for name, value in msgspec.structs.asdict(addresses).items()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(*self._processes)

    def mesh(self) -> Mesh:
        """Return what calls them, by connections of its own."""
        return Mesh(self.home.path, self._addresses, os.getpid())

    def start(self, *names: str, crash_at: str = "") -> None:
        """Start services, and wait until they serve; with a point, they will die there.

        `gateway 2` is a second process of `gateway`.
        """
        for name in names:
            service = name.partition(" ")[0]
            command = [sys.executable, "-m", service, "--config", str(self.home.config(service))]
            with self.home.log(name).open("wb") as log:
                self._processes[name] = subprocess.Popen(
                    command, env={**os.environ, VARIABLE: crash_at}, stdout=log, stderr=log
                )
        for name in names:
            until(lambda name=name: self.serves(name))

    def kill(self, *names: str) -> None:
        """End services as a power cut does."""
        for name in names:
            self._processes[name].kill()
        for name in names:
            self._processes[name].wait()

    def terminate(self, *names: str) -> None:
        """End services as an operator does."""
        for name in names:
            self._processes[name].terminate()
        for name in names:
            assert self._processes[name].wait(60) == 0

    def restart(self, name: str, *, crash_at: str = "") -> None:
        """Kill a service if it runs, and start it."""
        self.kill(name)
        self.start(name, crash_at=crash_at)

    def limit_files(self, name: str, max_bytes: int) -> None:
        """Let no file that a service writes grow beyond a size."""
        resource.prlimit(self._processes[name].pid, resource.RLIMIT_FSIZE, (max_bytes, resource.RLIM_INFINITY))

    def died(self, name: str) -> bool:
        """Return whether a service has died at its point."""
        status = self._processes[name].poll()
        assert status in {None, -signal.SIGKILL}, self.home.log(name).read_text()
        return status is not None

    def serves(self, name: str) -> bool:
        """Return whether a service that runs has found together with the others."""
        log = self.home.log(name).read_text()
        assert self._processes[name].poll() is None, log
        return re.search(f'"event": ?"{_SERVES.get(name.partition(" ")[0], "started")}"', log) is not None
