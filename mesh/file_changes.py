"""Notices that files have changed, without reading them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

_State: TypeAlias = tuple[int, ...] | None


class FileChanges:
    """Remembers some files' state.

    Args:
        paths: The files; one that is None is none.

    """

    def __init__(self, paths: Iterable[Path | None]) -> None:
        """Remember how the files are now. Make this before they are read, so that no change falls in between."""
        self._paths = [path for path in paths if path]
        self._seen = [_state(path) for path in self._paths]

    def any(self) -> bool:
        """Return whether a file was replaced, written, removed or given other permissions since the last question."""
        now = [_state(path) for path in self._paths]
        changed, self._seen = now != self._seen, now
        return changed


def _state(path: Path) -> _State:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode
