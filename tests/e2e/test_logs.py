"""What services write to standard error is their log, and nothing else."""

import json
import os
from pathlib import Path

from bench.bare import UNARY
from bench.gateway_rows import proxies


async def test_a_backend_without_health_is_no_error_and_each_line_is_json() -> None:
    async with proxies() as (gateway, _, metadata):  # their backend answers whatever is asked, but knows no health
        await gateway.channel.unary_unary(UNARY)(b"", metadata=metadata)
        log = Path(os.readlink(f"/proc/{gateway.pid}/fd/2")).read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["level"] for line in lines} == {"info"}
