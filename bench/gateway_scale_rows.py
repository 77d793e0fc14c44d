"""What a decision of the gateway costs with many rules and many tokens, beside few."""

import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from bench.gateway_memory_rows import access_token, exchanged
from bench.measure import Cost, Row, Sample, Scale, compare, cost_of, measure_pairs
from gateway.checkpoint import Checkpoint
from gateway.exchange import ExchangeClient
from gateway.exchange_cache import ExchangeCache
from gateway.limits import LimitedCall, Limits, Room
from mesh.access.descriptors import Method
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType, MethodRule
from policy.routes import Route
from policy.sources.gateway_config import LimitsConfig, RateConfig

_FEW, _MANY_RULES, _MANY_TOKENS = 10, 10_000, 100_000
_DECISIONS = 25  # for each call of the scale, so that a sample takes about as long as one of calls
_BACKEND = "payments"
_ANY = RateConfig(per_second=1_000_000, burst=1_000_000)


async def rules(scale: Scale) -> list[Row]:
    """Measure decisions about 10,000 methods, each with its rule, beside 10."""
    return await _decisions("gateway.rules", scale, (_MANY_RULES, _FEW), (_FEW, _FEW))


async def tokens(scale: Scale) -> list[Row]:
    """Measure decisions about 100,000 tokens of as many clients, all of them in the cache, beside 10."""
    return await _decisions("gateway.tokens", scale, (_FEW, _MANY_TOKENS), (_FEW, _FEW))


async def _decisions(name: str, scale: Scale, many: tuple[int, int], few: tuple[int, int]) -> list[Row]:
    async with (
        _deciding(*many, scale.calls * _DECISIONS) as subject,
        _deciding(*few, scale.calls * _DECISIONS) as other,
    ):
        pairs = await measure_pairs(name, scale.rounds, subject, other)
    return [compare(name, "CPU µs/decision", pairs, lambda cost: cost.cpu_microseconds)]


@asynccontextmanager
async def _deciding(rules: int, tokens: int, count: int) -> AsyncIterator[Sample]:
    """Yield a sample of decisions about methods and tokens at random."""
    rule = MethodRule(frozenset({ClientType.PARTNER}), frozenset({"payments.read"}))
    paths = [f"/example.v1.Service{number}/Method" for number in range(rules)]
    routes = {
        path: Route(Method(path, rule, client_streaming=False, server_streaming=False), _BACKEND) for path in paths
    }
    limits = Limits(LimitsConfig(address=_ANY, client=_ANY, remembered=tokens), routes, time.monotonic)
    cache = ExchangeCache(capacity=tokens, grace_seconds=1e9, clock=time.monotonic)
    cache.hear(1, [])
    for number in range(tokens):
        cache.add(exchanged(number, _BACKEND))
    metadata = [[("authorization", f"Bearer {access_token(number)}")] for number in range(tokens)]
    chance = random.Random(1)  # noqa: S311 - the same choices in each run
    choices = [(chance.choice(paths), chance.choice(metadata)) for _ in range(count)]
    room = Room(1, 1)
    async with grpc.aio.insecure_channel("localhost:1") as nowhere:  # all is in the cache
        checkpoint = Checkpoint(routes, ExchangeClient(nowhere, cache, time.monotonic))

        async def decide() -> None:
            for path, presented in choices:
                call = LimitedCall(limits, room, "192.0.2.1")
                await checkpoint.admit(path, ALL_CLIENT_TYPES, presented, call)
                call.end()

        async def sample(_number: int) -> Cost:
            return await cost_of(os.getpid(), count, decide())

        yield sample
