import asyncio
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from authserver.errors import InvalidTarget
from gateway.errors import AudienceUnknown, AuthServerUnavailable, InvalidToken
from gateway.exchange import ExchangeClient
from gateway.exchange_cache import ExchangeCache, Exchanged
from mesh.access.revocation import Revocation, Subject
from mesh.access.rules import Caller, ClientType
from mesh.channels.channel import open_channel
from mesh.errors import ServiceError
from tests.unit.gateway.conftest import World, world_of
from tests.unit.gateway.fake_services import Reply, Request, partner_reply, private_token

AUDIENCE = "payments"
CALLERS = 50
PATIENCE_SECONDS = 60.0


async def all_done(calls: list[asyncio.Task[Exchanged]]) -> list[Exchanged | BaseException]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def begin(world: World, callers: int) -> list[asyncio.Task[Exchanged]]:
    """Let callers ask for the same token at once, and wait until the auth server holds the question."""
    world.auth.open.clear()
    world.auth.asked.clear()
    calls = [asyncio.create_task(world.exchange.exchange("sat_a", AUDIENCE)) for _ in range(callers)]
    await world.auth.asked.wait()
    return calls


async def test_the_answer_says_whom_the_token_speaks_for(world: World) -> None:
    exchanged = await world.exchange.exchange("sat_a", AUDIENCE)
    assert exchanged.private_token == private_token("sat_a", AUDIENCE)
    assert exchanged.caller == Caller(
        client_id="client-of-a",
        client_type=ClientType.PARTNER,
        platform_id="shops",
        partner_id="ptn_1",
        scopes=frozenset({"payments.read", "payments.write"}),
    )
    assert exchanged.access_until == world.clock.now + 600
    (request,) = world.auth.requests
    assert request.grant_type == "urn:ietf:params:oauth:grant-type:token-exchange"
    assert request.subject_token_type == "urn:ietf:params:oauth:token-type:access_token"
    assert (request.subject_token, request.audience) == ("sat_a", AUDIENCE)


async def test_an_answer_is_kept_as_long_as_its_private_token_is_good_with_a_margin(world: World) -> None:
    first = await world.exchange.exchange("sat_a", AUDIENCE)
    world.clock.now += 294.9
    assert await world.exchange.exchange("sat_a", AUDIENCE) is first
    world.clock.now += 0.1
    assert await world.exchange.exchange("sat_a", AUDIENCE) is not first
    assert len(world.auth.requests) == 2


@pytest.mark.parametrize("seconds", [0, 1, 5])
async def test_an_answer_that_is_good_for_moments_only_is_used_once(world: World, seconds: int) -> None:
    reply = partner_reply(Request(subject_token="sat_a", audience=AUDIENCE))
    assert isinstance(reply, Reply)
    reply.expires_in = seconds
    world.auth.reply = lambda _: reply
    for _ in range(2):
        await world.exchange.exchange("sat_a", AUDIENCE)
    assert len(world.auth.requests) == 2


async def test_the_age_of_an_answer_counts_from_the_question(world: World) -> None:
    (call,) = await begin(world, 1)
    world.clock.now += 4
    world.auth.open.set()
    assert (await call).good_until == 1_295.0


# -- What is revoked


async def test_an_exchange_says_how_far_the_gateway_has_heard(world: World) -> None:
    await world.exchange.exchange("sat_a", AUDIENCE)
    world.auth.position = 12
    world.cache.hear(12, [])
    await world.exchange.exchange("sat_b", AUDIENCE)
    assert [request.revocation_position for request in world.auth.requests] == [7, 12]


async def test_a_gateway_that_has_heard_nothing_says_so_and_keeps_nothing(world: World) -> None:
    unheard = ExchangeCache(capacity=100, grace_seconds=1_000.0, clock=world.clock)
    async with open_channel(world.auth.channel_config("authserver")) as channel:
        exchange = ExchangeClient(channel, unheard, world.clock)
        for _ in range(3):
            await exchange.exchange("sat_a", AUDIENCE)
    assert [request.revocation_position for request in world.auth.requests] == [0, 0, 0]


async def test_an_answer_from_before_a_revocation_that_was_heard_meanwhile_is_asked_for_again(world: World) -> None:
    calls = await begin(world, CALLERS)
    world.auth.revoke(client_id="client-of-a")  # the auth server has made its answer already
    world.cache.hear(8, [Revocation(8, Subject.CLIENT, "client-of-a")])
    world.auth.open.set()
    assert {type(answer) for answer in await all_done(calls)} == {InvalidToken}
    assert len(world.auth.requests) == 2
    with pytest.raises(InvalidToken):
        await world.exchange.exchange("sat_a", AUDIENCE)


async def test_a_token_that_was_not_revoked_meanwhile_passes_at_the_second_answer(world: World) -> None:
    (call,) = await begin(world, 1)
    world.auth.revoke(client_id="client-of-b")
    world.cache.hear(8, [Revocation(8, Subject.CLIENT, "client-of-b")])
    world.auth.open.set()
    exchanged = await call
    assert await world.exchange.exchange("sat_a", AUDIENCE) is exchanged
    assert [request.revocation_position for request in world.auth.requests] == [7, 8]


async def test_an_auth_server_that_stays_behind_can_not_check_a_token(world: World) -> None:
    world.auth.revoke(client_id="client-of-a")
    world.auth.known = 7
    world.cache.hear(8, [Revocation(8, Subject.CLIENT, "client-of-a")])
    with pytest.raises(AuthServerUnavailable):
        await world.exchange.exchange("sat_a", AUDIENCE)
    assert len(world.auth.requests) == 3
    world.auth.known = None
    with pytest.raises(InvalidToken):
        await world.exchange.exchange("sat_a", AUDIENCE)


async def test_an_answer_from_beyond_what_was_heard_is_not_dropped_by_what_it_knows_already(world: World) -> None:
    world.auth.position = 12
    exchanged = await world.exchange.exchange("sat_a", AUDIENCE)
    world.cache.hear(12, [Revocation(12, Subject.CLIENT, "client-of-a")])
    assert await world.exchange.exchange("sat_a", AUDIENCE) is exchanged


# -- What is kept


async def test_the_least_recently_used_answer_goes_first(certificates: Path) -> None:
    async with world_of(certificates, capacity=2) as world:
        for token in ("sat_a", "sat_b", "sat_a", "sat_c", "sat_a", "sat_b"):
            await world.exchange.exchange(token, AUDIENCE)
        assert [request.subject_token for request in world.auth.requests] == ["sat_a", "sat_b", "sat_c", "sat_b"]


@pytest.mark.parametrize("capacity", [0, 1, 5])
async def test_no_more_answers_are_kept_than_configured(certificates: Path, capacity: int) -> None:
    async with world_of(certificates, capacity=capacity) as world:
        for number in range(12):
            await world.exchange.exchange(f"sat_{number}", AUDIENCE)
        kept = [f"sat_{number}" for number in range(12 - capacity, 12)]
        for token in kept:
            await world.exchange.exchange(token, AUDIENCE)
        assert len(world.auth.requests) == 12
        await world.exchange.exchange(f"sat_{11 - capacity}", AUDIENCE)
        assert len(world.auth.requests) == 13


async def test_calls_that_arrive_together_share_one_exchange(world: World) -> None:
    calls = await begin(world, CALLERS)
    world.auth.open.set()
    answers = await all_done(calls)
    assert len(world.auth.requests) == 1
    assert all(answer is answers[0] for answer in answers)


async def test_a_caller_who_gives_up_takes_the_answer_from_nobody(world: World) -> None:
    calls = await begin(world, 10)
    for call in calls[:9]:  # the one who asked first among them
        call.cancel()
    gone = await all_done(calls[:9])
    assert all(isinstance(answer, asyncio.CancelledError) for answer in gone)
    world.auth.open.set()
    assert (await calls[9]).private_token == private_token("sat_a", AUDIENCE)
    assert len(world.auth.requests) == 1


async def test_when_all_callers_give_up_the_next_one_asks_anew(world: World) -> None:
    calls = await begin(world, 3)
    for call in calls:
        call.cancel()
    await all_done(calls)
    world.auth.open.set()
    await world.exchange.exchange("sat_a", AUDIENCE)
    assert len(world.auth.requests) == 2


async def test_a_refused_token_is_invalid_for_all_who_wait_and_the_refusal_is_not_kept(world: World) -> None:
    world.auth.reply = lambda _: grpc.StatusCode.UNAUTHENTICATED
    calls = await begin(world, CALLERS)
    world.auth.open.set()
    assert {type(answer) for answer in await all_done(calls)} == {InvalidToken}
    world.auth.reply = partner_reply
    await world.exchange.exchange("sat_a", AUDIENCE)
    assert len(world.auth.requests) == 2


@pytest.mark.parametrize(
    "status", [status for status in grpc.StatusCode if status.name not in {"OK", "UNAUTHENTICATED"}]
)
async def test_any_other_refusal_says_that_the_token_can_not_be_checked(world: World, status: grpc.StatusCode) -> None:
    world.auth.reply = lambda _: status
    with pytest.raises(AuthServerUnavailable):
        await world.exchange.exchange("sat_a", AUDIENCE)
    world.auth.reply = partner_reply
    await world.exchange.exchange("sat_a", AUDIENCE)


async def test_a_backend_that_the_auth_server_does_not_know_is_a_fault_that_the_log_says_how_to_mend(
    world: World,
) -> None:
    world.auth.reply = lambda _: InvalidTarget("no private access token can be made for this audience")
    with capture_logs() as log_lines, pytest.raises(AudienceUnknown):
        await world.exchange.exchange("sat_a", AUDIENCE)
    (line,) = (line for line in log_lines if line["log_level"] == "error")
    assert "audiences" in line["event"]
    assert line["backend"] == AUDIENCE
    world.auth.reply = partner_reply
    await world.exchange.exchange("sat_a", AUDIENCE)


async def test_without_an_auth_server_nothing_is_exchanged(world: World) -> None:
    await world.auth.kill()
    with pytest.raises(AuthServerUnavailable):
        await world.hasty.exchange("sat_a", AUDIENCE)


async def test_an_answer_that_was_kept_outlives_the_auth_server_only_for_the_grace(certificates: Path) -> None:
    async with world_of(certificates, grace_seconds=30.0) as world:
        await world.exchange.exchange("sat_a", AUDIENCE)
        await world.auth.kill()
        world.clock.now += 29.9
        await world.hasty.exchange("sat_a", AUDIENCE)
        world.clock.now += 0.1
        with pytest.raises(AuthServerUnavailable):
            await world.hasty.exchange("sat_a", AUDIENCE)


async def test_an_auth_server_that_hangs_is_given_up(world: World) -> None:
    world.auth.open.clear()
    with pytest.raises(AuthServerUnavailable):
        await asyncio.wait_for(world.hasty.exchange("sat_a", AUDIENCE), PATIENCE_SECONDS)
    world.auth.open.set()
    await world.exchange.exchange("sat_a", AUDIENCE)


@pytest.mark.parametrize("number", [0, 99])
async def test_an_answer_with_a_client_type_that_makes_no_sense_is_none(world: World, number: int) -> None:
    def garbage(request: object) -> object:
        answer = partner_reply(request)  # type: ignore[arg-type]
        answer.client_type = number  # type: ignore[union-attr, assignment]
        return answer

    world.auth.reply = garbage  # type: ignore[assignment]
    with pytest.raises(AuthServerUnavailable):
        await world.exchange.exchange("sat_a", AUDIENCE)


async def test_each_audience_has_its_own_private_token(world: World) -> None:
    for _ in range(2):
        for audience in ("payments", "authserver"):
            exchanged = await world.exchange.exchange("sat_a", audience)
            assert exchanged.private_token == private_token("sat_a", audience)
    assert len(world.auth.requests) == 2


@pytest.mark.parametrize("token", ["", "sat", "SAT_a", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "pat_a", "sat_" + "a" * 1021])
async def test_what_can_be_no_access_token_costs_no_call(world: World, token: str) -> None:
    with pytest.raises(InvalidToken):
        await world.exchange.exchange(token, AUDIENCE)
    assert world.auth.requests == []


async def test_the_longest_access_token_is_asked_about(world: World) -> None:
    await world.exchange.exchange("sat_" + "a" * 1020, AUDIENCE)


async def test_no_usable_access_token_lies_in_memory(world: World) -> None:
    await world.exchange.exchange("sat_geheim", AUDIENCE)
    everything = repr(vars(world.cache)) + repr(vars(world.exchange))
    assert private_token("sat_geheim", AUDIENCE) in everything  # so this does look into the cache
    assert "geheim" not in everything.replace("client-of-geheim", "")


async def test_a_refusal_says_nothing_of_token_or_auth_server(world: World) -> None:
    async def refusal(exchange: ExchangeClient) -> str:
        with pytest.raises(ServiceError) as refused:
            await exchange.exchange("sat_geheim", AUDIENCE)
        return str(refused.value)

    world.auth.reply = lambda _: grpc.StatusCode.UNAUTHENTICATED
    messages = [await refusal(world.exchange)]
    await world.auth.kill()
    messages.append(await refusal(world.hasty))
    assert not any(word in message for message in messages for word in ("geheim", str(world.auth.port), "127.0"))
