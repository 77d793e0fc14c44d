"""How soon a revoked token is refused: at two gateways, each with an auth server of its own, on one PostgreSQL.

A token is revoked by the one gateway. What counts is the time from the answer to that until both have refused it, calls
of other shops going on meanwhile.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from authserver.config import AuthServerConfig
from bench.fleet import Fleet, fleet, free_address
from bench.measure import Row, Scale, Spread, say
from bench.postgresql import postgresql_server
from bench.replicas import Replica, calling, seconds_until_refused, start_payments, start_replica
from cli.local.preparation import MIGRATED
from mesh.config import load

_NAME = "auth.revocation"
_SHOPS = 10  # whose tokens are revoked in turn; of one client's, a hundred are remembered
_CALLS_PER_REVOCATION = 8  # so that a round takes about as long as a sample of calls


async def revocation(scale: Scale) -> list[Row]:
    """Measure the median of a round's revocations, and the time that one in a hundred takes longer than."""
    medians: list[float] = []
    tails: list[float] = []
    async with _two_replicas() as (processes, replicas), calling(replicas, processes.add_shops(len(replicas))):
        for number in range(scale.rounds + 1):
            say(f"{_NAME}: round {number} of {scale.rounds}" if number else f"{_NAME}: warming up")
            shops = processes.add_shops(_SHOPS)
            count = max(2, scale.calls // _CALLS_PER_REVOCATION)
            times = [await _revoke_one(replicas, shops[each % _SHOPS]) * 1e3 for each in range(count)]
            medians.append(statistics.median(times))
            tails.append(statistics.quantiles(times, n=100, method="inclusive")[-1])
    return [Row(f"{_NAME}.p50", "ms", Spread.of(medians[1:])), Row(f"{_NAME}.p99", "ms", Spread.of(tails[1:]))]


async def _revoke_one(replicas: Sequence[Replica], shop: tuple[str, str]) -> float:
    """Revoke a token that every gateway has let pass; return the seconds until all have refused it."""
    token = await replicas[0].token(shop)
    for each in replicas:
        await each.list_payments(token)
    await replicas[0].revoke(shop, token)
    start = time.perf_counter()
    calls = [seconds_until_refused(lambda at=each: at.list_payments(token), start) for each in replicas]  # type: ignore[misc]
    return max(await asyncio.gather(*calls))


@asynccontextmanager
async def _two_replicas() -> AsyncIterator[tuple[Fleet, Sequence[Replica]]]:
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder, postgresql_server(Path(folder)) as create:
        urls = [create(f"bench_{service}", None) for service in MIGRATED]
        async with fleet(urls[0].replace(f"bench_{MIGRATED[0]}", "bench_{service}")) as processes:
            known_to_payments = load(processes.home.config("authserver"), AuthServerConfig).server.listen
            replicas = [await start_replica(processes, each) for each in (known_to_payments, free_address())]
            await start_payments(processes)
            yield processes, replicas
