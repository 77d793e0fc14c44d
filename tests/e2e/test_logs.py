"""What services write to standard error is their log, and nothing else."""

import json
from pathlib import Path

from bench.bare import UNARY
from bench.gateway_rows import proxies


async def test_a_backend_without_health_is_no_error_and_each_line_is_json() -> None:
    async with proxies() as (gateway, _, metadata):  # their backend answers whatever is asked, but knows no health
        await gateway.channel.unary_unary(UNARY)(b"", metadata=metadata)
        assert levels(gateway.pid) == {"info"}


def levels(pid: int) -> set[str]:
    """Return the levels of all lines of a process's log."""
    log = Path(f"/proc/{pid}/fd/2").readlink().read_text()
    return {json.loads(line)["level"] for line in log.splitlines()}
