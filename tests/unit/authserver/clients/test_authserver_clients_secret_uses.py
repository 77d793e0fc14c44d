from typing import Any

import pytest

from authserver.clients.presented import PresentedSecret
from authserver.clients.register import Credentials
from authserver.clients.secret_uses import SecretUses
from authserver.clients.secrets import Peppers
from authserver.clients.store.clients import Client, find_client
from authserver.errors import InvalidClient
from mesh.storage.database import Database, DatabaseUnavailable
from tests.databases import rows, statements
from tests.unit.authserver.company import NOW, PEPPERS, Company, Replica

BOTH = Peppers({1: bytes(range(32)), 2: bytes(32)}, 2)  # the current one is new


@pytest.fixture
def shop(company: Company) -> Credentials:
    return company.register()


def stored(company: Company, shop: Credentials) -> Client:
    client = company.database.read_here(lambda connection: find_client(connection, shop.client.client_id))
    assert client is not None
    return client


async def authenticate(replica: Replica, credentials: Credentials, peppers: Peppers = PEPPERS) -> None:
    secret = PresentedSecret(credentials.client.client_id, credentials.client_secret)
    await replica.authenticating(peppers).authenticate(secret, "127.0.0.1")


async def test_a_secrets_last_use_is_written_down_later_and_by_nobody_who_authenticates(
    company: Company, shop: Credentials, database_url: str
) -> None:
    replica, before = Replica(company), rows(database_url)
    for second in range(3):
        company.now = NOW + second
        await authenticate(replica, shop)
    assert rows(database_url) == before
    await replica.uses.write(company.database)
    (secret,) = stored(company, shop).secrets
    assert secret.last_use_time == company.now_ms


async def test_each_secret_has_its_own_last_use(company: Company, shop: Credentials) -> None:
    rotated = company.rotate(shop.client.client_id, old_expire_time=company.now_ms + 60_000)

    replica = Replica(company)
    await authenticate(replica, shop)
    await replica.uses.write(company.database)
    assert [secret.last_use_time for secret in stored(company, shop).secrets] == [None, company.now_ms]
    company.now = NOW + 10
    await authenticate(replica, rotated)
    await replica.uses.write(company.database)
    assert [secret.last_use_time for secret in stored(company, shop).secrets] == [
        company.now_ms,
        company.now_ms - 10_000,
    ]


async def test_what_is_written_is_not_written_again_and_nothing_costs_nothing(
    company: Company, shop: Credentials
) -> None:
    replica = Replica(company)
    await authenticate(replica, shop)
    with statements(company.database) as first:
        await replica.uses.write(company.database)
    with statements(company.database) as second:
        await replica.uses.write(company.database)
    assert (len(first), second) == (1, [])


async def test_a_wrong_secret_is_no_use(company: Company, shop: Credentials) -> None:
    replica = Replica(company)
    for client_id in (shop.client.client_id, "cli_unknown"):
        with pytest.raises(InvalidClient):
            await replica.authenticate(client_id, "scs_wrong")
    with statements(company.database) as sent:
        await replica.uses.write(company.database)
    assert sent == []


async def test_what_can_not_be_written_now_is_written_later(company: Company, shop: Credentials) -> None:
    class Gone:
        async def run(self, _: object) -> None:
            raise DatabaseUnavailable("gone")

    replica = Replica(company)
    await authenticate(replica, shop)
    with pytest.raises(DatabaseUnavailable):
        await replica.uses.write(Gone())  # type: ignore[arg-type]
    await replica.uses.write(company.database)
    assert stored(company, shop).secrets[0].last_use_time == company.now_ms


async def test_what_is_used_while_it_is_written_down_is_written_the_next_time(
    company: Company, shop: Credentials
) -> None:
    class Slow(Database):
        def __init__(self) -> None:
            pass

        async def run(self, work: Any) -> Any:
            company.now = NOW + 5
            await authenticate(replica, shop)
            return await company.database.run(work)

    replica = Replica(company)

    await authenticate(replica, shop)
    await replica.uses.write(Slow())
    assert stored(company, shop).secrets[0].last_use_time == NOW * 1000
    await replica.uses.write(company.database)
    assert stored(company, shop).secrets[0].last_use_time == (NOW + 5) * 1000


async def test_a_secret_that_went_meanwhile_is_no_trouble(company: Company, shop: Credentials) -> None:
    replica = Replica(company)
    await authenticate(replica, shop)
    company.delete(shop.client.client_id)
    await replica.uses.write(company.database)


async def test_the_memory_of_uses_is_bounded_and_those_in_it_stay_exact(
    company: Company, shop: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authserver.clients.secret_uses._MAX", 2)
    uses, secret = SecretUses(PEPPERS), shop.client.secrets[0]
    others = [company.operator, *company.masters.values()]
    for time, credentials in enumerate((shop, *others)):
        uses.note(credentials.client.secrets[0], credentials.client_secret, time)
    uses.note(secret, shop.client_secret, 9)
    with statements(company.database) as sent:
        await uses.write(company.database)
    assert len(sent) == 1
    assert stored(company, shop).secrets[0].last_use_time == 9
    last_uses = [stored(company, credentials).secrets[0].last_use_time for credentials in others]
    assert [use for use in last_uses if use is not None] == [1]


async def test_a_secret_that_is_used_gets_a_digest_under_the_current_pepper(
    company: Company, shop: Credentials
) -> None:
    replica = Replica(company)
    replica.uses = SecretUses(BOTH)
    await authenticate(replica, shop, BOTH)
    assert stored(company, shop).secrets[0].digest.pepper_id == 1
    await replica.uses.write(company.database)
    (secret,) = stored(company, shop).secrets
    assert secret.digest == BOTH.digest(shop.client_secret)
    assert secret.digest.pepper_id == 2
    # Without the old pepper the secret goes on, and one that was not used is no good any more.
    alone = Peppers({2: bytes(32)}, 2)
    await authenticate(Replica(company), shop, alone)
    with pytest.raises(InvalidClient):
        await authenticate(Replica(company), company.operator, alone)
