"""Go's own tools, where tests need what only they build."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[1] / ".cache"
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"


def go(*arguments: str, folder: Path = CACHE.parent, **environment: str) -> None:
    """Run `go`; skip the test if it is not installed, but fail in CI."""
    command = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(command).exists():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs Go")
        pytest.skip("Go is not installed")
    subprocess.run([command, *arguments], cwd=folder, env={**os.environ, **environment}, check=True, timeout=600)


def grpcurl_folder() -> Path:
    """Return a folder with grpcurl in it, built once."""
    folder = CACHE / "bin"
    if not (folder / "grpcurl").exists():
        go("install", GRPCURL, GOBIN=str(folder))
    return folder
