"""Signed heads of the audit log in a file outside the database: they tell when the log's end was cut off.

Each line of the file is a JSON object, whose signature is HMAC-SHA-256 under the audit key.
"""

import asyncio
import hmac
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from authserver.audit.chain import GENESIS, head_signature
from authserver.audit.store import AuditHead, read_audit_head
from mesh.config import ConfigError
from mesh.storage.database import Database
from mesh.timestamps import to_ms


class ExportedHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head as it lies in the file.

    Attributes:
        time: When it was exported, in milliseconds since the epoch.
        sequence: The number of the last line then.
        mac: Its MAC, in hexadecimal.
        signature: Over all that, in hexadecimal.

    """

    time: int
    sequence: int
    mac: str
    signature: str


class HeadsBroken(Exception):
    """A file of heads is not there, or a line of it was not signed with the audit key; the message says which."""


class HeadFile:
    """Where one auth server exports heads to, each when it has moved.

    Args:
        file: The file. Several auth servers have several.
        key: The audit key.
        clock: Seconds since the epoch.

    Raises:
        ConfigError: If the file can't be written.

    """

    def __init__(self, file: Path, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._key = key
        self._clock = clock
        self._exported = AuditHead(0, GENESIS)
        try:
            os.close(_open(file))
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}") from error

    async def export(self, database: Database) -> None:
        """Append the log's head, unless it is the one that was exported last.

        Raises:
            DatabaseUnavailable: If the database can't be reached.
            OSError: If the file can't be written.

        """
        head = await database.read(read_audit_head)
        if head != self._exported:
            await asyncio.to_thread(_append, self._file, self._line(head))
            self._exported = head

    def _line(self, head: AuditHead) -> bytes:
        time_ms = to_ms(self._clock())
        signature = head_signature(self._key, time_ms, head.sequence, head.mac)
        return msgspec.json.encode(ExportedHead(time_ms, head.sequence, head.mac.hex(), signature.hex()))


def read_heads(file: Path, key: bytes) -> Iterator[ExportedHead | HeadsBroken]:
    """Return the heads in a file, and what is none.

    Raises:
        ConfigError: If the file can't be read.

    """
    try:
        with file.open("rb") as lines:
            yield from _read(file, lines, key)
    except FileNotFoundError:
        yield HeadsBroken(f"{file} is not there")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error


def _read(file: Path, lines: Iterable[bytes], key: bytes) -> Iterator[ExportedHead | HeadsBroken]:
    for number, line in enumerate(lines, 1):
        try:
            head = msgspec.json.decode(line, type=ExportedHead)
            signature = head_signature(key, head.time, head.sequence, bytes.fromhex(head.mac))
        except (msgspec.DecodeError, ValueError):
            yield HeadsBroken(f"{file}, line {number}: no head")
            continue
        right = hmac.compare_digest(signature.hex().encode(), head.signature.encode())
        yield head if right else HeadsBroken(f"{file}, line {number}: not signed with this audit key")


def _append(file: Path, line: bytes) -> None:
    descriptor = _open(file)
    with os.fdopen(descriptor, "rb+", buffering=0) as opened:
        size = os.fstat(descriptor).st_size
        # A line that a crash left unfinished must not swallow this one.
        separator = b"" if not size or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
        opened.write(separator + line + b"\n")
        os.fsync(descriptor)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
