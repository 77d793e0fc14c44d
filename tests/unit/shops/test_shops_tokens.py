import asyncio

import pytest

from shops.credentials import Credentials
from shops.tokens import NewToken, TokenSource
from tests.unit.shops.marketplace import FakeClock

SHOP = Credentials("cli_shop", "scs_secret")


class FakeIssuer:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, credentials: Credentials) -> NewToken:
        self.asked.append(credentials.client_id)
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        return NewToken(f"sat_{len(self.asked)}", 600)


async def test_a_token_is_kept_while_it_is_fresh_and_replaced_before_it_expires() -> None:
    issuer, clock = FakeIssuer(), FakeClock(0.0)
    tokens = TokenSource(issuer, clock)
    assert await tokens.get(SHOP) == "sat_1"
    clock.now = 539.9  # of 600 seconds, a tenth is left
    assert await tokens.get(SHOP) == "sat_1"
    clock.now = 540.0
    assert await tokens.get(SHOP) == "sat_2"


async def test_each_client_and_each_secret_has_its_own_token() -> None:
    issuer = FakeIssuer()
    tokens = TokenSource(issuer, FakeClock())
    got = [await tokens.get(Credentials(name, secret)) for name in "ab" for secret in "xy"]
    assert len(set(got)) == 4


async def test_callers_who_need_a_token_at_once_share_one_request() -> None:
    issuer = FakeIssuer()
    issuer.gate.clear()
    tokens = TokenSource(issuer, FakeClock())
    callers = [asyncio.create_task(tokens.get(SHOP)) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()  # the one who asked gives up
    issuer.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await callers[0]
    assert await asyncio.gather(*callers[1:]) == ["sat_1"] * 4
    assert issuer.asked == ["cli_shop"]


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    issuer = FakeIssuer()
    issuer.failures.append(ConnectionError())
    tokens = TokenSource(issuer, FakeClock())
    outcomes = await asyncio.gather(tokens.get(SHOP), tokens.get(SHOP), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionError, ConnectionError]
    assert await tokens.get(SHOP) == "sat_2"


async def test_a_dropped_token_is_replaced_and_its_successor_is_not_dropped_with_it() -> None:
    issuer = FakeIssuer()
    tokens = TokenSource(issuer, FakeClock())
    refused = await tokens.get(SHOP)
    tokens.drop(SHOP, refused)
    assert await tokens.get(SHOP) == "sat_2"
    tokens.drop(SHOP, refused)  # a second call that was refused with the first token
    assert await tokens.get(SHOP) == "sat_2"


async def test_only_the_tokens_used_last_are_kept() -> None:
    issuer = FakeIssuer()
    tokens = TokenSource(issuer, FakeClock())
    clients = [Credentials(f"cli_{number}", "s") for number in range(1025)]
    for client in clients[:1024]:
        await tokens.get(client)
    await tokens.get(clients[0])  # so that the second one is the oldest
    await tokens.get(clients[1024])
    asked = len(issuer.asked)
    await tokens.get(clients[0])
    assert len(issuer.asked) == asked
    await tokens.get(clients[1])
    assert len(issuer.asked) == asked + 1


def test_secrets_do_not_show_in_texts() -> None:
    assert "scs_secret" not in repr(SHOP)
    assert "sat_1" not in repr(NewToken("sat_1", 600))
