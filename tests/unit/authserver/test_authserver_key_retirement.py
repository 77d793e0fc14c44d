"""What a retired sealing key has sealed must not get past a replica that could know."""

import pytest

from authserver.clients.cache import Found
from authserver.errors import InvalidToken
from authserver.revocation.store import feed_position
from tests.unit.authserver.company import Company, Replica
from tests.unit.authserver.key_changes import retire_sealing_key


@pytest.fixture
async def token(company: Company) -> str:
    return await company.token(company.operator)


@pytest.fixture
async def replica(company: Company, token: str) -> Replica:
    """Follow the feed, as a replica does, from after the token was issued."""
    del token
    replica = Replica(company)
    await replica.feed.follow()
    return replica


async def test_a_replica_that_has_heard_of_it_refuses_before_it_answers_anything_else(
    company: Company, replica: Replica, token: str
) -> None:
    await replica.exchanger.exchange(token, "payments", 0)
    retire_sealing_key(company)
    await replica.feed.follow()
    with pytest.raises(InvalidToken):
        await replica.exchanger.exchange(token, "payments", 0)


async def test_a_gateway_that_has_heard_of_it_takes_the_replica_along(
    company: Company, replica: Replica, token: str
) -> None:
    retire_sealing_key(company)
    heard = company.run(feed_position)
    with pytest.raises(InvalidToken):
        await replica.exchanger.exchange(token, "payments", heard)


async def test_an_answer_is_not_said_to_be_newer_than_the_keys_that_it_was_judged_by(
    company: Company, replica: Replica, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = replica.clients.find

    async def find_slowly(client_id: str) -> Found:
        retire_sealing_key(company)
        await replica.feed.follow()
        return await find(client_id)

    monkeypatch.setattr(replica.clients, "find", find_slowly)
    before = company.run(feed_position)
    answer = await replica.exchanger.exchange(token, "payments", 0)
    assert answer.position <= before < company.run(feed_position)
