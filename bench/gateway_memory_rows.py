"""What the gateway holds: for each idle stream, and of a million tokens."""

import asyncio
import gc
import hashlib
import multiprocessing
import os
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from bench import load
from bench.bare import IDLE, STREAM
from bench.fleet import Server
from bench.gateway_rows import proxies
from bench.measure import Row, Scale, Spread, say
from gateway.exchange_cache import ExchangeCache, Exchanged
from mesh.access.rules import Caller, ClientType
from policy.sources.gateway_config import GatewayConfig

_STREAMS = 100  # what one connection may have
_TOKENS = 1_000_000
_CAPACITY: int = next(
    each.default for each in msgspec.structs.fields(GatewayConfig) if each.name == "exchange_cache_entries"
)
# Of a partner's, with two scopes.
_PRIVATE_TOKEN_LENGTH = 700
_ACCESS_TOKEN_LENGTH = 300
_SCOPE = "payments.read payments.write"
_KIB = 1024


async def idle_streams(scale: Scale) -> list[Row]:
    """Measure the resident memory of a process for each stream that is open and silent, above what it had before."""
    pairs = list[tuple[float, float]]()
    for number in range(1, scale.rounds + 1):
        say(f"gateway.idle: pair {number} of {scale.rounds}")
        async with proxies() as (gateway, bare, metadata):  # new ones, for what was freed may be used again
            pairs.append((await _kib_of_a_stream(gateway, metadata), await _kib_of_a_stream(bare, metadata)))
    return [_row("gateway.idle", "KiB/stream", pairs)]


async def _kib_of_a_stream(server: Server, metadata: load.Metadata) -> float:
    open_stream: Any = server.channel.unary_stream(STREAM)
    with ExitStack() as stack:

        async def begin() -> None:
            call = open_stream(IDLE, metadata=metadata)
            stack.callback(call.cancel)
            await call.read()

        await begin()  # what comes once
        before = _resident_kib(server.pid)
        await asyncio.gather(*(begin() for _ in range(_STREAMS - 1)))
        return (_resident_kib(server.pid) - before) / (_STREAMS - 1)


async def many_tokens(scale: Scale) -> list[Row]:
    """Measure the resident memory of an exchange cache after a million tokens, beside one that is just full."""
    pairs = list[tuple[float, float]]()
    for number in range(1, scale.rounds + 1):
        say(f"gateway.cache: pair {number} of {scale.rounds}")
        pairs.append((await _in_a_new_process(_TOKENS), await _in_a_new_process(_CAPACITY)))
    return [_row("gateway.cache", "MiB", pairs)]


async def _in_a_new_process(tokens: int) -> float:
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as processes:
        return await asyncio.get_running_loop().run_in_executor(processes, mib_of_a_cache, tokens)


def mib_of_a_cache(tokens: int) -> float:
    """Return what this process holds more after a cache of the usual size was asked for so many tokens."""
    cache = ExchangeCache(capacity=_CAPACITY, grace_seconds=1e9, clock=time.monotonic)
    cache.hear(1, [])
    before = _resident_kib(os.getpid())
    for number in range(tokens):
        cache.add(exchanged(number, "payments"))
    return (_resident_kib(os.getpid()) - before) / _KIB


def exchanged(number: int, audience: str) -> Exchanged:
    """Return what the token of some number is exchanged for, of a client of its own; it is good for days."""
    now = time.monotonic()
    return Exchanged(
        key=(hashlib.sha256(access_token(number).encode()).digest(), audience),
        private_token=f"{number:0{_PRIVATE_TOKEN_LENGTH}}",
        caller=Caller(
            client_id=f"cli_{number:032}",
            client_type=ClientType.PARTNER,
            platform_id=f"platform-{number % 10}",
            partner_id=f"ptn_{number:032}",
            scopes=frozenset(_SCOPE.split()),  # a new set of new strings, as of each answer that is read
        ),
        position=1,
        asked=now,
        good_until=now + 1e6,
        access_until=now + 1e6,
    )


def access_token(number: int) -> str:
    """Return the token of some number."""
    return f"sat_{number:0{_ACCESS_TOKEN_LENGTH}}"


def _resident_kib(pid: int) -> float:
    gc.collect()
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / _KIB


def _row(name: str, unit: str, pairs: Sequence[tuple[float, float]]) -> Row:
    return Row(
        name,
        unit,
        Spread.of(value for value, _ in pairs),
        Spread.of(baseline for _, baseline in pairs),
        Spread.of(value / baseline for value, baseline in pairs),
    )
