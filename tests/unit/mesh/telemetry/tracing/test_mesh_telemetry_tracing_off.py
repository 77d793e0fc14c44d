import subprocess
import sys

LOADS_ALL = """
import asyncio, sys
import authserver.server, gateway.server, payments.server, shops.server
from mesh.telemetry.tracing.tracing import tracing

async def story():
    async with tracing(None, "test") as traces:
        assert not traces.interceptors(trusting=True)
        assert not traces.observers()
        assert traces.channel(story) is story
        assert traces.around_units() is None

asyncio.run(story())
print(sum(name.partition(".")[0] == "opentelemetry" for name in sys.modules))
"""


def test_a_process_that_does_not_trace_loads_nothing_for_it() -> None:
    ran = subprocess.run([sys.executable, "-c", LOADS_ALL], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == ["0"]
