"""Go's own tools, where tests need what only they build."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[1] / ".cache"
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
PATIENCE_SECONDS = 580


def go_command() -> str:
    """Return the path of `go`; skip the test if it is not installed, but fail in CI."""
    command = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(command).exists():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs Go")
        pytest.skip("Go is not installed")
    return command


def build(*command: str, folder: Path = CACHE.parent, **environment: str) -> None:
    """Run what compiles Go, once no other worker does: what one has compiled, the next finds in Go's cache."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "go.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stdout


def grpcurl_folder() -> Path:
    """Return a folder with grpcurl in it, built once."""
    folder = CACHE / "bin"
    if not (folder / "grpcurl").exists():
        build(go_command(), "install", GRPCURL, GOBIN=str(folder))
    return folder
