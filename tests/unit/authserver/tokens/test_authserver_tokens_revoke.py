import pytest

from authserver.access_tokens import TokenSealer
from authserver.clients.register import Credentials
from authserver.clients.store.revoked_tokens import forget_expired_tokens
from authserver.errors import InvalidToken
from authserver.revocation.store import Change, FeedEntry, News, feed_position, read_after
from authserver.tokens.issue import issue_token
from authserver.tokens.revoke import token_digest
from mesh.access.revocation import Subject
from tests.databases import contents, rows
from tests.unit.authserver.company import NOW, Company, approval


@pytest.fixture
def shop(company: Company) -> Credentials:
    return company.register()


def entries(company: Company, after: int) -> list[FeedEntry]:
    return list(company.database.read_here(lambda connection: read_after(connection, after)).entries)


def position(company: Company) -> int:
    return company.database.read_here(feed_position)


async def refused(company: Company, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        await company.exchange(token)
    return caught.value.message


async def test_a_revoked_token_is_refused_and_no_other_one_of_the_client(company: Company, shop: Credentials) -> None:
    token, other = await company.token(shop), await company.token(shop)
    company.revoke(shop.client.client_id, token)
    assert await refused(company, token) == await refused(company, "garbage")
    await company.exchange(other)
    await company.exchange(await company.token(shop))


async def test_gateways_hear_of_the_token_and_replicas_of_its_client(company: Company, shop: Credentials) -> None:
    token, before = await company.token(shop), position(company)
    company.revoke(shop.client.client_id, token)
    assert [entry.news for entry in entries(company, before)] == [
        News(Subject.TOKEN, token_digest(token).hex()),
        News(Change.CLIENT_CHANGED, shop.client.client_id),
    ]


async def test_a_revoked_token_is_kept_nowhere(company: Company, shop: Credentials, database_url: str) -> None:
    token = await company.token(shop)
    company.revoke(shop.client.client_id, token)
    assert token.removeprefix("sat_").encode() not in contents(database_url)


async def test_whatever_else_is_revoked_nothing_happens(company: Company, shop: Credentials, database_url: str) -> None:
    other = company.register(statement=approval("app_2", partner_id="ptr_2"))
    own_id, token = shop.client.client_id, await company.token(shop)
    revoked, dead = await company.token(shop), await company.token(other)
    company.revoke(own_id, revoked)
    company.rotate(other.client.client_id)
    foreign = issue_token(TokenSealer({1: bytes(32)}, 1), shop.client, "", now=NOW, ttl_seconds=600).access_token
    before = rows(database_url)
    for presented in (
        "",
        "garbage",
        "sat_" + "A" * 5000,
        token + "=",
        token[:-1],
        await company.token(shop, ttl_seconds=0),  # expired
        revoked,
        foreign,
        await company.token(company.masters["shops"]),
        await company.token(company.operator),
        (await company.exchange(token)).private_token,
        shop.client_secret,
        "\0",
    ):
        company.revoke(own_id, presented)
    company.revoke(other.client.client_id, dead)  # its epoch is over
    company.revoke(other.client.client_id, token)  # another's
    company.revoke("cli_unknown", token)
    assert rows(database_url) == before
    await company.exchange(token)


async def test_a_master_client_does_not_revoke_its_partners_tokens_one_by_one(
    company: Company, shop: Credentials
) -> None:
    token = await company.token(shop)
    company.revoke(company.masters["shops"].client.client_id, token)
    await company.exchange(token)


async def test_of_a_client_that_revokes_more_than_100_all_tokens_end(company: Company, shop: Credentials) -> None:
    client_id, other = shop.client.client_id, await company.token(shop)
    tokens = [await company.token(shop) for _ in range(101)]
    for token in tokens[:100]:
        company.revoke(client_id, token)
    await company.exchange(other)
    assert len((await company.authenticate(client_id, shop.client_secret)).revoked_tokens) == 100
    before = position(company)
    company.revoke(client_id, tokens[100])
    assert [entry.news for entry in entries(company, before)] == [News(Subject.CLIENT, client_id)]
    for token in (*tokens, other):
        await refused(company, token)
    client = await company.authenticate(client_id, shop.client_secret)
    assert (client.epochs.client, client.revoked_tokens) == (1, frozenset())
    # And it starts anew.
    again, kept = await company.token(shop), await company.token(shop)
    company.revoke(client_id, again)
    await refused(company, again)
    await company.exchange(kept)


async def test_what_is_remembered_of_a_token_goes_as_it_expires_and_not_before(
    company: Company, shop: Credentials
) -> None:
    client_id, token = shop.client.client_id, await company.token(shop, ttl_seconds=600)
    company.revoke(client_id, token)

    async def forget_at(seconds: float) -> int:
        company.now = NOW + seconds
        company.run(lambda connection: forget_expired_tokens(connection, company.now_ms))
        return len((await company.authenticate(client_id, shop.client_secret)).revoked_tokens)

    assert await forget_at(599.999) == 1
    await refused(company, token)
    assert await forget_at(600) == 0
    await refused(company, token)


async def test_revoking_leaves_a_line_in_the_audit_log_without_the_token(company: Company, shop: Credentials) -> None:
    token = await company.token(shop)
    jti = company.sealer.open(token).jti
    company.revoke(shop.client.client_id, token)
    line = company.last_audit_line()
    assert (line.actor, line.action, line.subject) == (f"client:{shop.client.client_id}", "token.revoke", jti)
    assert line.details == {"client_id": shop.client.client_id}
