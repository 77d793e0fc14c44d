"""A backend as a process of its own, which writes down each call before it answers, so that it may be killed.

Run: python -m tests.recording_backend FOLDER PORT FILE
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from tests.unit.gateway.fake_services import FakeBackend, started

_WORK_SECONDS = 0.05  # between what is done and the answer, so that a kill finds calls there


class RecordingBackend(FakeBackend):
    """Writes path and request id of each call to a file, in one piece, which a kill can't undo."""

    def __init__(self, folder: Path, port: int, file: Path) -> None:
        super().__init__(folder)
        self.port = port
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.answer = self.record

    async def record(self, request: bytes, context: Any) -> bytes:
        request_id = dict(context.invocation_metadata())["x-request-id"]
        os.write(self._file, f"{request_id}\n".encode())
        await asyncio.sleep(_WORK_SECONDS)
        return request


async def main(folder: str, port: str, file: str) -> None:
    async with started(RecordingBackend(Path(folder), int(port), Path(file))):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
