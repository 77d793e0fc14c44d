import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authserver.access_tokens import TokenSealer
from authserver.clients.store.clients import delete_client
from authserver.errors import InvalidTarget, InvalidToken
from authserver.tokens.issue import issue_token
from mesh.errors import Code
from mesh.security.private_tokens import TYP, caller_of
from mesh.security.signed_jwt import public_keys, sign, verify
from tests.databases import rows
from tests.unit.authserver import company as world
from tests.unit.authserver.company import NOW, Company


def claims_of(company: Company, private_token: str, audience: str = "payments") -> dict[str, object]:
    keys = public_keys(company.key_ring.jwks())
    return verify(private_token, keys, typ=TYP, issuer="authserver", audience=audience, now=company.now)


async def refused(company: Company, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        await company.exchange(token)
    assert caught.value.code is Code.UNAUTHENTICATED
    assert caught.value.metadata == {}
    return caught.value.message


async def test_a_private_token_speaks_for_the_caller_of_the_access_token(company: Company) -> None:
    registered = company.register()
    exchanged = await company.exchange(await company.token(registered, "payments.write"))
    caller = caller_of(claims_of(company, exchanged.private_token))
    assert caller == exchanged.caller
    assert (caller.client_id, caller.platform_id, caller.partner_id) == (registered.client.client_id, "shops", "ptr_1")
    assert caller.scopes == {"payments.write"}


@pytest.mark.parametrize(
    "audience", ["", "shops", "Payments", "payments ", "*", "payments,authserver", "authserver.example"]
)
async def test_an_unknown_audience_is_refused(company: Company, audience: str) -> None:
    token = await company.token(company.operator)
    with pytest.raises(InvalidTarget):
        await company.exchange(token, audience)


async def test_a_private_token_is_for_one_backend_only(company: Company) -> None:
    private = (await company.exchange(await company.token(company.operator), "authserver")).private_token
    assert claims_of(company, private, "authserver")["aud"] == "authserver"


async def test_an_access_token_holds_until_it_expires_and_no_longer(company: Company) -> None:
    token = await company.token(company.operator, ttl_seconds=600)
    company.now = NOW + 599.9
    assert (await company.exchange(token)).subject_token_expires_in == 0
    for late in (600, 600.001, 10_000):
        company.now = NOW + late
        await refused(company, token)


@pytest.mark.parametrize("table", ["clients", "partners", "platforms"])
async def test_a_raised_epoch_revokes_the_tokens_issued_before_and_no_later_ones(company: Company, table: str) -> None:
    registered = company.register()
    token = await company.token(registered)
    await company.exchange(token)
    column = {"clients": "client_id", "partners": "partner_id", "platforms": "platform_id"}[table]
    value = getattr(registered.client, column)
    company.execute(f"UPDATE {table} SET epoch = epoch + 1 WHERE {column} = '{value}'")  # noqa: S608 - own values
    await refused(company, token)
    await company.exchange(await company.token(registered))


@pytest.mark.parametrize("table", ["clients", "partners", "platforms"])
async def test_anothers_raised_epoch_revokes_nothing(company: Company, table: str) -> None:
    registered = company.register()
    other = company.register("stalls", statement=world.approval("app_2", partner_id="ptr_2", platform_id="stalls"))
    column = {"clients": "client_id", "partners": "partner_id", "platforms": "platform_id"}[table]
    token = await company.token(registered)
    company.execute(f"UPDATE {table} SET epoch = 7 WHERE {column} = '{getattr(other.client, column)}'")  # noqa: S608 - own values
    await company.exchange(token)


async def test_a_lowered_epoch_revokes_too(company: Company) -> None:
    company.execute("UPDATE clients SET epoch = 5")
    token = await company.token(company.operator)
    company.execute("UPDATE clients SET epoch = 4")
    await refused(company, token)


async def test_a_deleted_clients_token_is_refused(company: Company) -> None:
    token = await company.token(company.operator)
    client_id = company.operator.client.client_id
    company.run(lambda connection: delete_client(connection, client_id))
    await refused(company, token)


async def test_a_private_token_is_never_exchanged_again(company: Company) -> None:
    private = (await company.exchange(await company.token(company.operator))).private_token
    await refused(company, private)
    await refused(company, "sat_" + private)


async def test_garbage_expired_and_revoked_tokens_are_refused_in_the_same_words(company: Company) -> None:
    expired = await company.token(company.operator, ttl_seconds=0)
    revoked = await company.token(company.operator)
    company.execute("UPDATE clients SET epoch = 9")
    foreign = issue_token(TokenSealer({1: bytes(32)}, 1), company.operator.client, "", now=NOW, ttl_seconds=600)
    forged = sign(company.key_ring.signing_key, TYP, {"iss": "authserver"})
    tokens = ["", "garbage", "A" * 1_000_000, expired, revoked, foreign.access_token, forged, revoked + "="]
    assert len({await refused(company, token) for token in tokens}) == 1


async def test_exchanging_writes_nothing(company: Company, database_url: str) -> None:
    token = await company.token(company.operator)
    before = rows(database_url)
    await company.exchange(token)
    await refused(company, "garbage")
    assert rows(database_url) == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25)
@given(
    access_ttl=st.integers(1, 1000),
    private_ttl=st.integers(1, 1000),
    issued_at=st.floats(0, 1),
    later=st.floats(0, 1000),
)
async def test_a_private_token_never_outlives_the_access_token(
    company: Company, access_ttl: int, private_ttl: int, issued_at: float, later: float
) -> None:
    company.now = NOW + issued_at
    token = await company.token(company.operator, ttl_seconds=access_ttl)
    expires = math.ceil(NOW + issued_at) + access_ttl
    company.now += later
    if company.now >= expires:
        await refused(company, token)
        return
    exchanged = await company.exchange(token, ttl_seconds=private_ttl)
    claims = claims_of(company, exchanged.private_token)
    assert isinstance(claims["exp"], int)
    assert claims["exp"] <= min(expires, company.now + private_ttl)
    assert 0 <= exchanged.expires_in <= claims["exp"] - company.now
    assert 0 <= exchanged.subject_token_expires_in <= expires - company.now
