from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from authserver.clients.owned import delete_client
from authserver.clients.register import Credentials
from authserver.clients.rotate_secret import rotate_client_secret
from authserver.clients.store.clients import find_client
from authserver.errors import ClientNotFound, InvalidClient, InvalidToken
from authserver.revocation.store import Change, News, feed_position, read_after
from mesh.errors import InvalidRequest
from tests.databases import rows
from tests.unit.authserver.company import NOW, PEPPERS, Company, Replica, approval, caller_of
from tests.unit.authserver.meeting import overlap

DAY = 24 * 3600


@pytest.fixture
def shop(company: Company) -> Credentials:
    return company.register()


async def works(company: Company, credentials: Credentials) -> bool:
    try:
        await company.authenticate(credentials.client.client_id, credentials.client_secret)
    except InvalidClient:
        return False
    return True


async def test_rotating_kills_the_old_secret_and_its_tokens_at_once(company: Company) -> None:
    registered = company.register()
    client_id = registered.client.client_id
    token = await company.token(registered)
    rotated = company.rotate(client_id)
    assert rotated.client_secret != registered.client_secret
    with pytest.raises(InvalidClient):
        await company.authenticate(client_id, registered.client_secret)
    with pytest.raises(InvalidToken):
        await company.exchange(token)
    await company.exchange(await company.token(rotated))


async def test_each_rotation_makes_a_new_secret(company: Company) -> None:
    registered = company.register()
    secrets = [company.rotate(registered.client.client_id) for _ in range(3)]
    for credentials in secrets[:-1]:
        with pytest.raises(InvalidClient):
            await company.token(credentials)
    await company.token(secrets[-1])


async def test_rotating_one_clients_secret_leaves_the_others_alone(company: Company) -> None:
    one, other = company.register(), company.register(statement=approval("app_2", partner_id="ptr_2"))
    token = await company.token(other)
    company.rotate(one.client.client_id)
    await company.exchange(token)
    await company.token(other)


async def test_with_an_overlap_both_secrets_work_until_its_end_and_no_token_ends(
    company: Company, shop: Credentials
) -> None:
    client_id, token = shop.client.client_id, await company.token(shop)
    before = company.database.read_here(feed_position)
    rotated = company.rotate(client_id, old_expire_time=company.now_ms + 60_000)
    stretch = company.database.read_here(lambda connection: read_after(connection, before))
    assert [entry.news for entry in stretch.entries] == [News(Change.CLIENT_CHANGED, client_id)]
    await company.exchange(token)
    for later, old_works in ((0, True), (59.999, True), (60, False), (60.001, False), (DAY, False)):
        company.now = NOW + later
        assert (await works(company, shop), await works(company, rotated)) == (old_works, True)


async def test_the_new_secret_is_the_first_and_the_old_one_has_its_end(company: Company, shop: Credentials) -> None:
    end = company.now_ms + 60_000
    rotated = company.rotate(shop.client.client_id, old_expire_time=end).client
    assert await company.authenticate(shop.client.client_id, shop.client_secret) == rotated
    (first,) = shop.client.secrets
    new, old = rotated.secrets
    assert (new.secret_id != first.secret_id, new.expire_time) == (True, None)
    assert (old.secret_id, old.expire_time) == (first.secret_id, end)


async def test_at_most_two_secrets_work_whenever_they_were_made(company: Company, shop: Credentials) -> None:
    made = [shop]
    for later in (0, 0, 10, -3600, 0):  # in the same moment, later, and after the clock was set back
        company.now += later
        made.append(company.rotate(shop.client.client_id, old_expire_time=company.now_ms + 3_600_000))
        assert [await works(company, credentials) for credentials in made] == [False] * (len(made) - 2) + [True, True]


async def test_a_rotation_without_overlap_ends_what_overlaps(company: Company, shop: Credentials) -> None:
    second = company.rotate(shop.client.client_id, old_expire_time=company.now_ms + 60_000)
    third = company.rotate(shop.client.client_id)
    assert [await works(company, credentials) for credentials in (shop, second, third)] == [False, False, True]
    assert len(third.client.secrets) == 1


async def test_a_rotation_makes_the_end_of_an_overlap_neither_earlier_nor_later(
    company: Company, shop: Credentials
) -> None:
    second = company.rotate(shop.client.client_id, old_expire_time=company.now_ms + 60_000)
    third = company.rotate(shop.client.client_id, old_expire_time=company.now_ms + 30_000)
    company.now = NOW + 30
    assert [await works(company, credentials) for credentials in (shop, second, third)] == [False, False, True]


@pytest.mark.parametrize("seconds", [0, -1, -NOW, -(2 * NOW), 30 * DAY + 0.001, 2.0**53])
def test_an_overlap_that_is_past_or_too_long_is_refused(
    company: Company, shop: Credentials, database_url: str, seconds: float
) -> None:
    before = rows(database_url)
    with pytest.raises(InvalidRequest) as caught:
        company.rotate(shop.client.client_id, old_expire_time=company.now_ms + round(seconds * 1000))
    assert caught.value.violations.keys() == {"old_secret_expires_at"}
    assert rows(database_url) == before
    company.rotate(shop.client.client_id, old_expire_time=company.now_ms + 30 * DAY * 1000)


async def test_a_secret_ends_at_its_time_on_replicas_that_know_it_and_hear_nothing(
    company: Company, shop: Credentials
) -> None:
    client_id = shop.client.client_id
    company.rotate(client_id, old_expire_time=company.now_ms + 60_000)

    replicas = [Replica(company), Replica(company)]
    for replica in replicas:
        await replica.feed.follow()
        await replica.authenticate(client_id, shop.client_secret)
        assert (await replica.clients.find(client_id)).from_memory
    company.now = NOW + 60
    for replica in replicas:
        with pytest.raises(InvalidClient):
            await replica.authenticate(client_id, shop.client_secret)


async def test_a_new_secret_works_at_once_where_only_the_old_one_is_known(company: Company, shop: Credentials) -> None:
    client_id = shop.client.client_id

    replica = Replica(company)
    await replica.feed.follow()
    await replica.authenticate(client_id, shop.client_secret)
    assert (await replica.clients.find(client_id)).from_memory
    rotated = company.rotate(client_id, old_expire_time=company.now_ms + 60_000)  # by another replica
    known = await replica.clients.find(client_id)
    assert known.from_memory
    assert known.client == shop.client
    assert await replica.authenticate(client_id, rotated.client_secret) == rotated.client


def rotating(company: Company, client_id: str, old_expire_time: int | None) -> Callable[[Connection], Credentials]:
    return lambda connection: rotate_client_secret(
        connection,
        PEPPERS,
        company.trail,
        caller_of(company.masters["shops"]),
        client_id,
        old_expire_time=old_expire_time,
        now_ms=company.now_ms,
    )


async def test_two_rotations_at_once_leave_two_secrets(company: Company, shop: Credentials) -> None:
    client_id = shop.client.client_id
    work = rotating(company, client_id, company.now_ms + 60_000)
    first, second = overlap(company.database, work, work)
    assert [await works(company, credentials) for credentials in (shop, first, second)] == [False, True, True]
    client = company.database.read_here(lambda connection: find_client(connection, client_id))
    assert client == second.client


def test_a_client_that_is_deleted_while_its_secret_is_rotated_is_not_there(company: Company, shop: Credentials) -> None:
    client_id = shop.client.client_id

    def delete(connection: Connection) -> Credentials:
        delete_client(connection, company.trail, caller_of(company.masters["shops"]), client_id)
        return shop

    with pytest.raises(ClientNotFound):
        overlap(company.database, delete, rotating(company, client_id, None))


def test_a_rotation_leaves_a_line_in_the_audit_log_without_the_secret(company: Company, shop: Credentials) -> None:
    client_id, end = shop.client.client_id, company.now_ms + 60_000
    for old_expire_time in (None, end):
        secret_id = company.rotate(client_id, old_expire_time=old_expire_time).client.secrets[0].secret_id
        line = company.last_audit_line()
        assert (line.action, line.subject) == ("client_secret.rotate", client_id)
        overlap_end = "" if old_expire_time is None else str(end)
        assert line.details == {"secret_id": secret_id, "old_secret_expire_time": overlap_end}
