"""Closes a port to new connections while those that are there are served on."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

_OPEN_FILES = Path("/proc/self/fd")


def stop_listening(port: int) -> None:
    """Take no new connections at a port that this process listens on.

    gRPC has no call for that, so the listening sockets are looked up; only Linux shows them. Elsewhere nothing happens.
    """
    if not _OPEN_FILES.exists():
        return
    for found in list(_OPEN_FILES.iterdir()):
        with suppress(OSError):  # it was closed meanwhile
            if stat.S_ISSOCK(os.fstat(int(found.name)).st_mode):
                _shut(int(found.name), port)


def _shut(descriptor: int, port: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as found:
        listens = found.family in {socket.AF_INET, socket.AF_INET6} and found.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        )
        if listens and found.getsockname()[1] == port:
            found.shutdown(socket.SHUT_RDWR)
