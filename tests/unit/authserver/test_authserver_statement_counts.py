"""How many statements each call to the auth server costs, and that tokens cost no write."""

from collections.abc import Awaitable, Callable

import pytest

from authserver.clients.register import Credentials
from authserver.config import AuthServerConfig
from authserver.errors import InvalidClient, InvalidToken
from authserver.revocation.store import News, publish
from authserver.servicers.exchange import ExchangeServiceServicer
from authserver.servicers.tokens import TokenServiceServicer
from authserver.tokens.client_tokens import ClientTokens
from authserver.tokens.exchange import ACCESS_TOKEN_TYPE, TOKEN_EXCHANGE
from mesh.access.revocation import Subject
from mesh.storage.database import Database
from sekisho.auth.v1 import exchange_service_pb2, token_service_pb2
from tests.databases import rows, statements
from tests.unit.authserver.company import Company, Replica, approval

FIND = 4  # the client, its secrets, its revoked tokens, and the position that these hold at
LOOK = 2  # how far the feed goes, and what is new in it


class Context:
    """A call that came from this machine."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-forwarded-for", "127.0.0.1"),)


class Servicers:
    """The two services that tokens come from and go to, on one replica."""

    def __init__(self, company: Company, config: AuthServerConfig, shop: Credentials, token: str) -> None:
        self.replica = Replica(company)
        self.shop = shop
        tokens = ClientTokens(
            self.replica.key_ring,
            self.replica.tokens,
            self.replica.feed,
            company.trail,
            clock=company.clock,
            ttl_seconds=config.access_token_ttl_seconds,
        )
        self._tokens = TokenServiceServicer(self.replica.authenticator, tokens, issuer=config.issuer)
        self._exchanges = ExchangeServiceServicer(self.replica.exchanger)
        self.token = token
        self.own = {"client_id": shop.client.client_id, "client_secret": shop.client_secret}

    async def issue(self, **changes: str) -> None:
        request = token_service_pb2.IssueTokenRequest(grant_type="client_credentials", **{**self.own, **changes})
        await self._tokens.IssueToken(request, Context())  # type: ignore[arg-type]

    async def introspect(self) -> None:
        request = token_service_pb2.IntrospectTokenRequest(token=self.token, **self.own)
        await self._tokens.IntrospectToken(request, Context())  # type: ignore[arg-type]

    async def exchange(self, token: str = "", position: int = 0) -> None:
        request = exchange_service_pb2.ExchangeTokenRequest(
            grant_type=TOKEN_EXCHANGE,
            subject_token_type=ACCESS_TOKEN_TYPE,
            subject_token=token or self.token,
            audience="payments",
            revocation_position=position,
        )
        await self._exchanges.ExchangeToken(request, None)  # type: ignore[arg-type]


@pytest.fixture
async def servicers(company: Company, config: AuthServerConfig) -> Servicers:
    shop = company.register()
    return Servicers(company, config, shop, await company.token(shop))


async def cost(servicers: Servicers, call: Callable[[], Awaitable[None]], *, known: bool) -> list[str]:
    """Return the statements of a call, once the client is known, or not yet."""
    await servicers.replica.feed.follow()
    if known:
        await servicers.replica.clients.find(servicers.own["client_id"])
    with statements(servicers.replica.company.database) as sent:
        await call()
    return sent


@pytest.mark.parametrize("call", ["issue", "introspect", "exchange"])
async def test_a_call_for_a_known_client_costs_no_statement(servicers: Servicers, call: str) -> None:
    assert await cost(servicers, getattr(servicers, call), known=True) == []


@pytest.mark.parametrize("call", ["issue", "introspect", "exchange"])
async def test_a_call_for_a_client_that_is_not_known_yet_reads_it_once(servicers: Servicers, call: str) -> None:
    sent = await cost(servicers, getattr(servicers, call), known=False)
    assert len(sent) == FIND
    assert all(statement.startswith("SELECT") for statement in sent)


async def test_an_exchange_for_a_gateway_that_knows_more_looks_into_the_feed_once(servicers: Servicers) -> None:
    company, feed = servicers.replica.company, servicers.replica.feed

    await feed.follow()
    await servicers.replica.clients.find(servicers.own["client_id"])
    company.rotate(company.register(statement=approval("app_2")).client.client_id)
    with statements(company.database) as sent:
        await servicers.exchange(position=feed.position + 1)
    assert len(sent) == LOOK


async def test_a_wrong_secret_and_an_unknown_client_cost_the_same(servicers: Servicers) -> None:
    async def wrong() -> None:
        with pytest.raises(InvalidClient):
            await servicers.issue(client_secret="scs_wrong")

    async def unknown() -> None:
        with pytest.raises(InvalidClient):
            await servicers.issue(client_id="cli_unknown")

    costs = [await cost(servicers, wrong, known=known) for known in (False, True)]
    costs.append(await cost(servicers, unknown, known=False))
    assert [len(sent) for sent in costs] == [FIND] * 3


async def test_garbage_costs_no_statement(servicers: Servicers) -> None:
    async def call() -> None:
        for token in ("garbage", "sat_" + "A" * 200, servicers.token + "="):
            with pytest.raises(InvalidToken):
                await servicers.exchange(token)

    assert await cost(servicers, call, known=False) == []


async def test_the_feed_is_looked_into_with_two_statements_and_with_none_while_nothing_is_new(
    servicers: Servicers, database_url: str
) -> None:
    follow, other = servicers.replica.feed.follow, Database(database_url)

    async def hear() -> None:
        other.run_here(lambda connection: publish(connection, [News(Subject.CLIENT, "cli_x")], 1))
        await follow()

    try:
        sent = await cost(servicers, hear, known=False)
        assert len([statement for statement in sent if statement.startswith("SELECT")]) == LOOK
        assert await cost(servicers, follow, known=False) == []
    finally:
        other.close()


async def test_tokens_cost_no_write(servicers: Servicers, database_url: str) -> None:
    async def calls() -> None:
        for call in (servicers.issue, servicers.introspect, servicers.exchange):
            await call()

    before = rows(database_url)
    await cost(servicers, calls, known=False)
    await cost(servicers, calls, known=True)
    assert rows(database_url) == before
