"""`python -m tests.soak.watched_gateway FILE` runs the gateway, and tells by its standard output how it is."""

import asyncio
import ctypes
import gc
import json
import resource
import sys
from pathlib import Path

from gateway.server import running
from mesh.config import load
from mesh.telemetry.logging import configure_logging
from policy.sources.gateway_config import GatewayConfig

_libc = ctypes.CDLL(None)


async def watched(config: Path) -> None:
    """Answer each line of the standard input with a line about this process; end with the input."""
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with running(load(config, GatewayConfig)) as servers:
        tell({"port": servers[0].port})
        while await lines.readline():
            gc.collect()
            _libc.malloc_trim(0)  # what was freed is not to count: the allocator keeps it, now more, now less
            tell({"tasks": len(asyncio.all_tasks()), "memory": resident_bytes(), "files": open_files()})


def tell(what: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    configure_logging("gateway")
    asyncio.run(watched(Path(sys.argv[1])))
