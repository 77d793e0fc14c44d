"""What it takes to replace 10,000 restrictions, and what calls notice of it."""

import asyncio
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench import load
from bench.bare import UNARY
from bench.gateway_rows import proxies
from bench.measure import Row, Scale, Spread, say
from gateway.restrictions_in_force import RestrictionsInForce
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType, MethodRule
from mesh.background import forever, working

_NAME = "gateway.reload"
_MANY, _FEW = 10_000, 10
_MESSAGE = bytes(200)
_SHARE = 0.3  # of the calls that the gateway can take


async def reload(scale: Scale) -> list[Row]:
    """Measure how long it takes until a file is in force, and calls while it is read all the time or never."""
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder:
        many, few = (_file(Path(folder) / f"{count}.yaml", count) for count in (_MANY, _FEW))
        taken, pauses = list[tuple[float, float]](), list[tuple[float, float]]()
        for number in range(1, scale.rounds + 1):
            say(f"{_NAME}: pair {number} of {scale.rounds}")
            taken.append((await _milliseconds(many), await _milliseconds(few)))
            pauses.append((await _pause(many), await _pause(few)))
        waits = await _waits(scale, many)
    return [_row(_NAME, taken), _row(f"{_NAME}.pause", pauses), _row(f"{_NAME}.p99", waits)]


async def _milliseconds(file: Path) -> float:
    begin = time.perf_counter()
    await _restrictions(file).load()
    return (time.perf_counter() - begin) * 1e3


async def _pause(file: Path) -> float:
    """Return the longest that the event loop can do nothing else while a file comes into force, in milliseconds."""
    loading = asyncio.create_task(_restrictions(file).load())
    last, pause = time.perf_counter(), 0.0
    while not loading.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        pause, last = max(pause, now - last), now
    await loading
    return pause * 1e3


def _restrictions(file: Path) -> RestrictionsInForce:
    rules = {UNARY: MethodRule(frozenset({ClientType.PARTNER}))}
    return RestrictionsInForce(file, rules, {"public": ALL_CLIENT_TYPES})


async def _waits(scale: Scale, file: Path) -> list[tuple[float, float]]:
    """Return pairs of the milliseconds that one call of a hundred takes longer than."""
    pairs = list[tuple[float, float]]()
    async with proxies(file) as (gateway, _, metadata):
        full = await load.calls(gateway, UNARY, [_MESSAGE], scale.calls, metadata=metadata)(0)
        rate = full.per_second * _SHARE

        async def p99() -> float:
            taken = await load.latencies(gateway, UNARY, _MESSAGE, scale.calls, rate, metadata=metadata)
            return statistics.quantiles(taken, n=100, method="inclusive")[98] * 1e3

        for number in range(scale.rounds + 1):
            say(f"{_NAME}.p99: pair {number} of {scale.rounds}" if number else f"{_NAME}.p99: warming up")
            async with _reloading(gateway.pid):
                during = await p99()
            pairs.append((during, await p99()))
    return pairs[1:]


@asynccontextmanager
async def _reloading(pid: int) -> AsyncIterator[None]:
    """Have a gateway read its restrictions again as soon as it has read them."""

    async def ask() -> None:
        os.kill(pid, signal.SIGHUP)

    async with working(forever(ask, 0.05, asyncio.Event())):
        yield


def _file(file: Path, count: int) -> Path:
    """Write restrictions that each shut one client out of a method."""
    entries = [
        {"name": f"r{number}", "methods": [UNARY], "deny": {"client_ids": [f"client-{number}"]}}
        for number in range(count)
    ]
    file.write_text(json.dumps({"restrictions": entries}, indent=1))
    return file


def _row(name: str, pairs: list[tuple[float, float]]) -> Row:
    return Row(
        name,
        "ms",
        Spread.of(value for value, _ in pairs),
        Spread.of(baseline for _, baseline in pairs),
        Spread.of(value / baseline for value, baseline in pairs),
    )
