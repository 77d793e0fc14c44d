"""What tests need of other toolchains: programs that are built once, and kept by what they were built from."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_CACHE = ROOT / ".cache"
_GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
_PATIENCE_SECONDS = 580


def command(name: str, *elsewhere: str) -> str:
    """Return the path of a tool; skip the test if it is not installed."""
    found = next(filter(None, map(shutil.which, (name, *elsewhere))), None)
    return found or pytest.skip(f"{name} is not installed")


def go_command() -> str:
    return command("go", "/usr/local/go/bin/go")


def go_version() -> str:
    return subprocess.run([go_command(), "version"], capture_output=True, text=True, check=True).stdout


def run(*arguments: str | Path, folder: Path, **environment: str) -> None:
    """Run what builds or checks something, to its end."""
    done = subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def kept(name: str, version: str, sources: Iterable[Path], build: Callable[[Path], None]) -> Path:
    """Return a folder that was built from sources; build it if there is none of this version yet.

    One worker builds at a time: what the next one needs may be among what this one compiles.

    Args:
        name: What it is.
        version: Of the tools that build it.
        sources: The files that it is built from.
        build: Builds it in the folder that it is handed.

    """
    digest = hashlib.sha256(version.encode())
    for source in sorted(sources):
        digest.update(
            b"%s\0%s\0" % (str(source.relative_to(ROOT)).encode(), hashlib.sha256(source.read_bytes()).digest())
        )
    folder = _CACHE / f"{name}-{digest.hexdigest()[:16]}"
    _CACHE.mkdir(exist_ok=True)
    with (_CACHE / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / "stamp"
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)  # half of one, if a build broke off
            folder.mkdir()
            build(folder)
            stamp.touch()
    return folder


def npm_folder(name: str) -> Path:
    """Return a copy of a folder beside the tests, with what its package.json names installed from npm."""
    npm, sources = command("npm"), Path(__file__).with_name(name)

    def build(folder: Path) -> None:
        shutil.copytree(sources, folder, dirs_exist_ok=True)
        run(npm, "install", "--no-package-lock", "--no-audit", "--no-fund", folder=folder)

    return kept(name, "", sources.iterdir(), build)


def grpcurl_folder() -> Path:
    """Return a folder with grpcurl in it."""

    def build(folder: Path) -> None:
        run(go_command(), "install", _GRPCURL, folder=folder, GOBIN=str(folder))

    return kept("grpcurl", f"{_GRPCURL} {go_version()}", (), build)
