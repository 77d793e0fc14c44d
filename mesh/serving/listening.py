"""Closes a port to new connections while those that are there are served on."""

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

_OPEN_FILES = Path("/proc/self/fd")
_PATIENCE_SECONDS = 1.0
_PAUSE_SECONDS = 0.001
# Where `struct tcp_info` of a socket that listens has how many connections wait to be accepted (`tcpi_unacked`).
_WAITING = struct.Struct("24xI")


async def stop_listening(port: int) -> None:
    """Take no new connections at a port that this process listens on, once those that have come are accepted.

    Those that wait would be reset, and callers whose connection is reset take a second before they try the next one.
    gRPC has no call for this, so the listening sockets are looked up; only Linux shows them. Elsewhere nothing happens.
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in _listening(port)]
        for each in sockets:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    while _waiting(each):  # noqa: ASYNC110 - gRPC's own threads accept them
                        await asyncio.sleep(_PAUSE_SECONDS)
            with suppress(OSError):  # a copy of it was shut already
                each.shutdown(socket.SHUT_RDWR)


def _listening(port: int) -> Iterator[socket.socket]:
    """Yield the sockets that listen at a port, as copies."""
    for found in list(_OPEN_FILES.iterdir()) if _OPEN_FILES.exists() else ():
        with suppress(OSError):  # it was closed meanwhile
            if stat.S_ISSOCK(os.fstat(int(found.name)).st_mode):
                copy = socket.socket(fileno=os.dup(int(found.name)))
                if _listens(copy) and copy.getsockname()[1] == port:
                    yield copy
                else:
                    copy.close()


def _listens(found: socket.socket) -> bool:
    internet = found.family in {socket.AF_INET, socket.AF_INET6}
    return internet and bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _waiting(listener: socket.socket) -> int:
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WAITING.size)
    return int(_WAITING.unpack(info)[0])
