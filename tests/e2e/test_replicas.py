"""What is revoked at one replica is refused at all: two auth servers, two gateways, one PostgreSQL, all real."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from functools import partial

import pytest

from authserver.clients.blocking import revoke
from authserver.clients.store.platforms import Platform, add_platform
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from bench.replicas import bearer, calling, seconds_until_refused
from cli.home import read_credentials
from cli.local.preparation import MIGRATED, scopes_of
from mesh.access.revocation import Subject
from mesh.access.rules import ClientType
from mesh.channels.channel import open_channel
from mesh.config import load
from payments.config import PaymentsConfig
from sekisho.auth.v1 import client_registration_service_pb2 as registration_pb
from sekisho.auth.v1 import client_registration_service_pb2_grpc as registration_grpc
from sekisho.auth.v1 import partner_access_service_pb2 as access_pb
from sekisho.auth.v1 import partner_access_service_pb2_grpc as access_grpc
from tests.replicas import GRACE_SECONDS, OK, PATIENCE_SECONDS, Scene, Shop, eventually, outcome, scene, watching

# One worker runs them all, where there are several: these processes are enough.
pytestmark = [pytest.mark.xdist_group("replicas"), pytest.mark.timeout(180)]

INVALID, REVOKED = ("UNAUTHENTICATED", "INVALID_TOKEN"), ("UNAUTHENTICATED", "TOKEN_REVOKED")
UNAVAILABLE = ("UNAVAILABLE", "AUTH_SERVER_UNAVAILABLE")
UNKNOWN = ("UNAVAILABLE", "REVOCATIONS_UNKNOWN")
SETTLE_SECONDS = 150.0
SLACK_SECONDS = 5.0  # what a busy machine may lag behind
ROUNDS = 40
PLATFORMS = 4  # of the rounds

Act = Callable[[Scene, Shop, str], Awaitable[None]]
Trouble = Callable[[Scene], AbstractContextManager[None]]


@pytest.fixture(scope="module")
async def processes(postgresql_url: Callable[[str], str]) -> AsyncIterator[Scene]:
    """Run the processes that all these tests share."""
    urls = [postgresql_url(f"replicas_{service}") for service in MIGRATED]
    databases = urls[0].replace(f"replicas_{MIGRATED[0]}", "replicas_{service}")
    async with scene(databases) as it:
        yield it


@pytest.fixture
async def it(processes: Scene) -> Scene:
    """Wait until all is well again after the test before."""
    async with asyncio.timeout(SETTLE_SECONDS):
        await processes.settled()
    return processes


async def known_everywhere(it: Scene) -> tuple[Shop, str, str]:
    """Return a shop with a token, and another shop's token; all have both in memory."""
    shop, other = it.processes.add_shops(2, partners=2)
    tokens = [await it.a.token(each) for each in (shop, other)]
    assert await it.outcomes(tokens) == {OK}
    for token in tokens:
        await it.b.exchange(token)
    return shop, *tokens


# -- What can be revoked, by those who may: each ends a token of a shop


async def revoke_token(it: Scene, shop: Shop, token: str) -> None:
    await it.a.revoke(shop, token)


async def replace_secret(it: Scene, shop: Shop, _token: str) -> None:
    master = await it.a.token(read_credentials(it.processes.addresses.master_credentials))
    stub = registration_grpc.ClientRegistrationServiceStub(it.a.gateway.channel)
    request = registration_pb.RotateClientSecretRequest(client_id=shop[0])
    await stub.RotateClientSecret(request, metadata=bearer(master), timeout=PATIENCE_SECONDS)


async def block_partner(it: Scene, _shop: Shop, token: str) -> None:
    partner_id = (await it.a.exchange(token)).partner_id
    async with open_channel(load(it.processes.home.config("payments"), PaymentsConfig).auth) as channel:
        stub = access_grpc.PartnerAccessServiceStub(channel)
        await stub.BlockPartner(access_pb.BlockPartnerRequest(partner_id=partner_id), timeout=PATIENCE_SECONDS)


async def revoke_platform(it: Scene, _shop: Shop, token: str) -> None:
    platform_id = (await it.a.exchange(token)).platform_id
    trail = read_installation(load(it.processes.home.config("authserver"), AuthServerConfig)).trail
    await asyncio.to_thread(
        it.processes.beside_auth_server,
        lambda connection: revoke(connection, trail, "operator:test", Subject.PLATFORM, platform_id),
    )


# -- While all is well


def rounds(it: Scene) -> Iterator[tuple[Act, Shop]]:
    """Yield what is to be revoked, and a shop of its own for each."""
    for number, shop in enumerate(it.processes.add_shops(ROUNDS - PLATFORMS, partners=ROUNDS - PLATFORMS)):
        yield (revoke_token, replace_secret, block_partner)[number % 3], shop
    for number in range(PLATFORMS):
        platform, platform_id = Platform(scopes_of(ClientType.PARTNER), max_clients=1), f"platform-{number}"
        it.processes.beside_auth_server(lambda connection: add_platform(connection, platform_id, platform, 0))  # noqa: B023
        yield revoke_platform, it.processes.add_shops(platform_id=platform_id)[0]


async def seconds_until_refused_everywhere(it: Scene, act: Act, shop: Shop, token: str, *, streams: bool) -> float:
    """Revoke a token that passes everywhere; return what time went by after the answer to that until it is refused."""
    replicas = (it.a, it.b)
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_SECONDS):
        watches = [await stack.enter_async_context(watching(each, token)) for each in replicas if streams]
        calls = [partial(call, token) for each in replicas for call in (each.list_payments, each.exchange)]
        for call in calls:
            await call()
        await act(it, shop, token)
        answered = time.perf_counter()
        refused = await asyncio.gather(*(seconds_until_refused(call, answered) for call in calls))
        endings = await asyncio.gather(*watches)
    assert {ending.outcome for ending in endings} <= {REVOKED}
    return max(refused + [ending.at - answered for ending in endings])


async def test_what_is_revoked_is_refused_everywhere_within_a_second_and_nobody_else_notices(it: Scene) -> None:
    tokens, times = list[str](), list[float]()
    async with calling([it.a, it.b], it.processes.add_shops(4, partners=4)) as calls:
        for number, (act, shop) in enumerate(rounds(it)):
            tokens.append(await it.a.token(shop))
            streams = number % 5 == 0
            times.append(await seconds_until_refused_everywhere(it, act, shop, tokens[-1], streams=streams))
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[-1]
    print(f"{len(times)}: p50 {p50:.3f} s, p99 {p99:.3f} s, most {max(times):.3f} s; beside {calls}")  # noqa: T201
    assert len(times) == ROUNDS
    assert p50 < 1.0  # a busy machine may stop for longer than that, now and then
    assert min(calls) > ROUNDS
    assert await it.outcomes(tokens) == {INVALID}


# -- While a gateway can't hear


BRIEF_TROUBLES = [Scene.way_cut, Scene.auth_server_frozen, Scene.database_slow]  # over well before the grace is
TROUBLES = [*BRIEF_TROUBLES, Scene.way_half_open, Scene.database_gone]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
async def test_a_gateway_that_hears_nothing_lets_nobody_in_after_the_grace_and_forgets_nothing(
    it: Scene, trouble: Trouble
) -> None:
    shops = it.processes.add_shops(2, partners=2)
    good, bad = [await it.a.token(shop) for shop in shops]
    async with watching(it.b, good) as stream:
        assert await it.outcomes([good, bad]) == {OK}
        with trouble(it):
            await it.a.revoke(shops[1], bad)
            answered = time.perf_counter()
            await seconds_until_refused(lambda: it.a.list_payments(bad), answered)
            await until_nobody_is_let_in(it, bad, answered + GRACE_SECONDS + SLACK_SECONDS)
            assert await outcome(it.b.list_payments(good)) == UNAVAILABLE
            assert (await stream).outcome == UNKNOWN
            await eventually(it.is_deaf)
    await eventually(lambda: it.lets_in(good))
    assert await it.outcomes([bad] * 20) == {INVALID}
    await it.settled()
    assert await it.outcomes([bad] * 20) == {INVALID}


@pytest.mark.parametrize("trouble", BRIEF_TROUBLES, ids=lambda trouble: trouble.__name__)
async def test_a_gateway_that_hears_nothing_for_a_moment_hears_of_it_later(it: Scene, trouble: Trouble) -> None:
    while not await hears_of_it_within_the_grace(it, trouble):
        await it.settled()


async def hears_of_it_within_the_grace(it: Scene, trouble: Trouble) -> bool:
    """Revoke in a moment of trouble; return False if that took longer than the grace, as it may on a busy machine."""
    shop, bad, good = await known_everywhere(it)
    async with watching(it.b, bad) as stream, watching(it.b, good) as other:
        with trouble(it):
            await it.a.revoke(shop, bad)
        if (ending := await stream).outcome == UNKNOWN:
            return False
        assert ending.outcome == REVOKED
        assert await outcome(it.b.list_payments(bad)) == INVALID
        return not other.done()


async def until_nobody_is_let_in(it: Scene, token: str, deadline: float) -> None:
    """Call through the gateway that can't hear until that says so; no call that begins after the deadline may pass."""
    began = time.perf_counter()
    while (found := await outcome(it.b.list_payments(token))) == OK:
        assert began < deadline
        began = time.perf_counter()
    assert found == UNAVAILABLE


# -- While a replica is behind


async def newest_position(it: Scene, token: str) -> int:
    return int((await it.a.exchange(token)).revocation_position)


async def test_a_replica_that_is_behind_catches_up_before_it_answers(it: Scene) -> None:
    shop, bad, good = await known_everywhere(it)
    with it.database_slow():
        await it.a.revoke(shop, bad)
        answer = asyncio.create_task(outcome(it.b.exchange(bad, await newest_position(it, good))))
        await eventually(it.is_deaf)
        assert not answer.done()
    assert await answer == INVALID


async def test_a_replica_that_can_not_catch_up_says_so(it: Scene) -> None:
    shop, bad, good = await known_everywhere(it)
    with it.database_gone():
        await it.a.revoke(shop, bad)
        position = await newest_position(it, good)
        assert await outcome(it.b.exchange(bad, position)) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
    assert await outcome(it.a.exchange(good, position + 1000)) == ("UNAVAILABLE", "REPLICA_BEHIND")


async def test_a_gateway_that_turns_to_a_replica_that_is_behind_does_not_let_a_revoked_token_in_again(
    it: Scene,
) -> None:
    shop, bad, good = await known_everywhere(it)
    with ExitStack() as troubles:
        with it.turned_to_a():
            await eventually(lambda: it.lets_in(good))
            troubles.enter_context(it.database_slow())
            await it.a.revoke(shop, bad)
            await seconds_until_refused(lambda: it.b.list_payments(bad), time.perf_counter())
        calls = asyncio.gather(*(it.outcomes([bad] * 5) for _ in range(4)))
        await eventually(it.is_deaf)
    assert set().union(*await calls) <= {INVALID, UNAVAILABLE}
    await it.settled()
    assert await it.outcomes([bad] * 500) == {INVALID}  # by each gateway
    assert await it.outcomes([good]) == {OK}
