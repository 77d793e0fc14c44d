"""What services cost while nobody calls."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.bare import BareConfig
from bench.fleet import Fleet, fleet, free_address
from bench.measure import Row, Scale, Spread, cpu_seconds, say
from bench.postgresql import postgresql_server
from cli.home import SERVICES
from mesh import config
from payments.config import PaymentsConfig

_SETTLE_SECONDS = 3.0
_CALLS_A_SECOND = 100  # of the scale: a sample takes about as long as others


async def sqlite(scale: Scale) -> list[Row]:
    """Measure all four services, each on a SQLite database."""
    async with fleet() as processes:
        return await _measure("idle.sqlite", processes, scale)


async def postgresql(scale: Scale) -> list[Row]:
    """Measure all four services, each on a database of one PostgreSQL, whose own processes do not count."""
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder, postgresql_server(Path(folder)) as create:
        urls = [create(f"idle_{service}", None) for service in SERVICES]
        async with fleet(urls[0].replace(f"idle_{SERVICES[0]}", "idle_{service}")) as processes:
            return await _measure("idle.postgresql", processes, scale)


async def _measure(name: str, processes: Fleet, scale: Scale) -> list[Row]:
    """Measure beside a bare server to which nobody is connected."""
    own = config.load(processes.home.config("payments"), PaymentsConfig).server
    bare = BareConfig(server=msgspec.structs.replace(own, listen=free_address()))
    pids = {service: await processes.start(service) for service in SERVICES}
    pids["bare"] = await processes.start_bare("bare", bare)
    await asyncio.sleep(_SETTLE_SECONDS)
    samples = list[Mapping[str, float]]()
    for number in range(1, scale.rounds + 1):
        say(f"{name}: sample {number} of {scale.rounds}")
        samples.append(await _shares(pids, scale.calls / _CALLS_A_SECOND))
    total = [sum(sample[service] for service in SERVICES) for sample in samples]
    baseline = [sample["bare"] for sample in samples]
    return [
        Row(name, "% of a core", Spread.of(total), Spread.of(baseline)),
        *(Row(f"{name}.{each}", "% of a core", Spread.of(sample[each] for sample in samples)) for each in SERVICES),
    ]


async def _shares(pids: Mapping[str, int], seconds: float) -> Mapping[str, float]:
    before, loop = {name: cpu_seconds(pid) for name, pid in pids.items()}, asyncio.get_running_loop()
    begin = loop.time()
    await asyncio.sleep(seconds)
    elapsed = loop.time() - begin
    return {name: (cpu_seconds(pid) - before[name]) / elapsed * 100 for name, pid in pids.items()}
