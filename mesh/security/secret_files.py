"""Secrets in files that only their owner can read."""

import os
import secrets
import stat
from pathlib import Path

from mesh.config import ConfigError

KEY_BYTES = 32


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read. It exists whole or not at all."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_private(path: Path) -> bytes:
    """Read a secret.

    Raises:
        ConfigError: If the file can't be read, or others can read it too.

    """
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path}: others can read this secret; run: chmod 600 {path}")
    return content


def create_key(path: Path) -> None:
    """Write a new random key of 256 bits, unless the file exists."""
    if not path.exists():
        write_private(path, secrets.token_bytes(KEY_BYTES))


def read_key(path: Path) -> bytes:
    """Read a key of 256 bits.

    Raises:
        ConfigError: As `read_private`, or if the file is of another length.

    """
    key = read_private(path)
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: a key has {KEY_BYTES} bytes, this file {len(key)}")
    return key
