import asyncio
import time
from collections.abc import Callable

import grpc
import pytest

from gateway.errors import AuthServerUnavailable, InvalidToken
from gateway.exchange import Exchanged
from mesh.access.rules import Caller, ClientType
from mesh.errors import ServiceError
from tests.unit.gateway.conftest import World
from tests.unit.gateway.fake_services import changed, partner_reply, private_token

Play = Callable[..., None]
AUDIENCE = "payments"
CALLERS = 50


async def all_done(calls: list[asyncio.Task[Exchanged]]) -> list[Exchanged | BaseException]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def begin(world: World, callers: int) -> list[asyncio.Task[Exchanged]]:
    """Let callers ask for the same token at once, and wait until the auth server holds the question."""
    world.auth.open.clear()
    world.auth.asked.clear()
    calls = [asyncio.create_task(world.exchange.exchange("sat_a", AUDIENCE)) for _ in range(callers)]
    await world.auth.asked.wait()
    return calls


def test_the_answer_says_whom_the_token_speaks_for(play: Play) -> None:
    async def story(world: World) -> None:
        assert await world.exchange.exchange("sat_a", AUDIENCE) == Exchanged(
            private_token=private_token("sat_a", AUDIENCE),
            caller=Caller(
                client_id="client-of-a",
                client_type=ClientType.PARTNER,
                platform_id="shops",
                partner_id="ptn_1",
                scopes=frozenset({"payments.read", "payments.write"}),
            ),
            good_until=world.clock.now + 30,
            access_until=world.clock.now + 600,
        )
        (request,) = world.auth.requests
        assert request.grant_type == "urn:ietf:params:oauth:grant-type:token-exchange"
        assert request.subject_token_type == "urn:ietf:params:oauth:token-type:access_token"
        assert (request.subject_token, request.audience) == ("sat_a", AUDIENCE)

    play(story)


def test_an_answer_is_kept_for_the_time_configured(play: Play) -> None:
    async def story(world: World) -> None:
        first = await world.exchange.exchange("sat_a", AUDIENCE)
        world.clock.now += 29.9
        assert await world.exchange.exchange("sat_a", AUDIENCE) is first
        world.clock.now += 0.1
        assert await world.exchange.exchange("sat_a", AUDIENCE) is not first
        assert len(world.auth.requests) == 2

    play(story)


def test_an_answer_is_not_kept_longer_than_its_private_token_lives(play: Play) -> None:
    async def story(world: World) -> None:
        world.auth.reply = changed(expires_in=7)
        await world.exchange.exchange("sat_a", AUDIENCE)
        world.clock.now += 6.9
        await world.exchange.exchange("sat_a", AUDIENCE)
        assert len(world.auth.requests) == 1
        world.clock.now += 0.1
        await world.exchange.exchange("sat_a", AUDIENCE)
        assert len(world.auth.requests) == 2

    play(story)


def test_the_age_of_an_answer_counts_from_the_question(play: Play) -> None:
    async def story(world: World) -> None:
        (call,) = await begin(world, 1)
        world.clock.now += 4
        world.auth.open.set()
        assert (await call).good_until == 1_030.0

    play(story)


def test_the_least_recently_used_answer_goes_first(play: Play) -> None:
    async def story(world: World) -> None:
        for token in ("sat_a", "sat_b", "sat_a", "sat_c", "sat_a", "sat_b"):
            await world.exchange.exchange(token, AUDIENCE)
        assert [request.subject_token for request in world.auth.requests] == ["sat_a", "sat_b", "sat_c", "sat_b"]

    play(story, capacity=2)


@pytest.mark.parametrize("capacity", [0, 1, 5])
def test_no_more_answers_are_kept_than_configured(play: Play, capacity: int) -> None:
    async def story(world: World) -> None:
        for number in range(12):
            await world.exchange.exchange(f"sat_{number}", AUDIENCE)
        kept = [f"sat_{number}" for number in range(12 - capacity, 12)]
        for token in kept:
            await world.exchange.exchange(token, AUDIENCE)
        assert len(world.auth.requests) == 12
        await world.exchange.exchange(f"sat_{11 - capacity}", AUDIENCE)
        assert len(world.auth.requests) == 13

    play(story, capacity=capacity)


def test_calls_that_arrive_together_share_one_exchange(play: Play) -> None:
    async def story(world: World) -> None:
        calls = await begin(world, CALLERS)
        world.auth.open.set()
        answers = await all_done(calls)
        assert len(world.auth.requests) == 1
        assert all(answer is answers[0] for answer in answers)

    play(story)


def test_a_caller_who_gives_up_takes_the_answer_from_nobody(play: Play) -> None:
    async def story(world: World) -> None:
        calls = await begin(world, 10)
        for call in calls[:9]:  # the one who asked first among them
            call.cancel()
        gone = await all_done(calls[:9])
        assert all(isinstance(answer, asyncio.CancelledError) for answer in gone)
        world.auth.open.set()
        assert (await calls[9]).private_token == private_token("sat_a", AUDIENCE)
        assert len(world.auth.requests) == 1

    play(story)


def test_when_all_callers_give_up_the_next_one_is_answered(play: Play) -> None:
    async def story(world: World) -> None:
        calls = await begin(world, 3)
        for call in calls:
            call.cancel()
        await all_done(calls)
        world.auth.open.set()
        await world.exchange.exchange("sat_a", AUDIENCE)
        assert len(world.auth.requests) == 1

    play(story)


def test_a_refused_token_is_invalid_for_all_who_wait_and_the_refusal_is_not_kept(play: Play) -> None:
    async def story(world: World) -> None:
        world.auth.reply = lambda _: grpc.StatusCode.UNAUTHENTICATED
        calls = await begin(world, CALLERS)
        world.auth.open.set()
        assert {type(answer) for answer in await all_done(calls)} == {InvalidToken}
        world.auth.reply = partner_reply
        await world.exchange.exchange("sat_a", AUDIENCE)
        assert len(world.auth.requests) == 2

    play(story)


@pytest.mark.parametrize(
    "status", [status for status in grpc.StatusCode if status.name not in {"OK", "UNAUTHENTICATED"}]
)
def test_any_other_refusal_says_that_the_token_can_not_be_checked(play: Play, status: grpc.StatusCode) -> None:
    async def story(world: World) -> None:
        world.auth.reply = lambda _: status
        with pytest.raises(AuthServerUnavailable):
            await world.exchange.exchange("sat_a", AUDIENCE)
        world.auth.reply = partner_reply
        await world.exchange.exchange("sat_a", AUDIENCE)

    play(story)


def test_without_an_auth_server_nothing_is_exchanged(play: Play) -> None:
    async def story(world: World) -> None:
        await world.auth.kill()
        with pytest.raises(AuthServerUnavailable):
            await world.exchange.exchange("sat_a", AUDIENCE)

    play(story)


def test_an_answer_that_was_kept_outlives_the_auth_server_only_for_its_time(play: Play) -> None:
    async def story(world: World) -> None:
        await world.exchange.exchange("sat_a", AUDIENCE)
        await world.auth.kill()
        await world.exchange.exchange("sat_a", AUDIENCE)
        world.clock.now += 30
        with pytest.raises(AuthServerUnavailable):
            await world.exchange.exchange("sat_a", AUDIENCE)

    play(story)


def test_an_auth_server_that_hangs_is_given_up(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.exchange._TIMEOUT_SECONDS", 0.3)

    async def story(world: World) -> None:
        world.auth.open.clear()
        start = time.monotonic()
        with pytest.raises(AuthServerUnavailable):
            await world.exchange.exchange("sat_a", AUDIENCE)
        assert time.monotonic() - start < 3
        world.auth.open.set()
        await world.exchange.exchange("sat_a", AUDIENCE)

    play(story)


@pytest.mark.parametrize("number", [0, 99])
def test_an_answer_with_a_client_type_that_makes_no_sense_is_none(play: Play, number: int) -> None:
    def garbage(request: object) -> object:
        answer = partner_reply(request)  # type: ignore[arg-type]
        answer.client_type = number  # type: ignore[union-attr, assignment]
        return answer

    async def story(world: World) -> None:
        world.auth.reply = garbage  # type: ignore[assignment]
        with pytest.raises(AuthServerUnavailable):
            await world.exchange.exchange("sat_a", AUDIENCE)

    play(story)


def test_each_audience_has_its_own_private_token(play: Play) -> None:
    async def story(world: World) -> None:
        for _ in range(2):
            for audience in ("payments", "authserver"):
                exchanged = await world.exchange.exchange("sat_a", audience)
                assert exchanged.private_token == private_token("sat_a", audience)
        assert len(world.auth.requests) == 2

    play(story)


@pytest.mark.parametrize("token", ["", "sat", "SAT_a", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "pat_a", "sat_" + "a" * 1021])
def test_what_can_be_no_access_token_costs_no_call(play: Play, token: str) -> None:
    async def story(world: World) -> None:
        with pytest.raises(InvalidToken):
            await world.exchange.exchange(token, AUDIENCE)
        assert world.auth.requests == []

    play(story)


def test_the_longest_access_token_is_asked_about(play: Play) -> None:
    async def story(world: World) -> None:
        await world.exchange.exchange("sat_" + "a" * 1020, AUDIENCE)

    play(story)


def test_no_usable_access_token_lies_in_memory(play: Play) -> None:
    async def story(world: World) -> None:
        await world.exchange.exchange("sat_geheim", AUDIENCE)
        everything = repr(vars(world.exchange))
        assert private_token("sat_geheim", AUDIENCE) in everything  # so this does look into the cache
        assert "geheim" not in everything.replace("client-of-geheim", "")

    play(story)


def test_a_refusal_says_nothing_of_token_or_auth_server(play: Play) -> None:
    async def refusal(world: World) -> str:
        with pytest.raises(ServiceError) as refused:
            await world.exchange.exchange("sat_geheim", AUDIENCE)
        return str(refused.value)

    async def story(world: World) -> None:
        world.auth.reply = lambda _: grpc.StatusCode.UNAUTHENTICATED
        messages = [await refusal(world)]
        await world.auth.kill()
        messages.append(await refusal(world))
        assert not any(word in message for message in messages for word in ("geheim", str(world.auth.port), "127.0"))

    play(story)
