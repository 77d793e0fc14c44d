import pytest

from authserver.clients.blocking import block
from authserver.clients.register import Credentials
from mesh.access.revocation import Subject
from mesh.access.rules import ClientType
from tests.databases import rows
from tests.unit.authserver.company import NOW, Company, approval


@pytest.fixture
def shop(company: Company) -> Credentials:
    return company.register()


async def test_a_client_may_know_of_its_own_tokens(company: Company, shop: Credentials) -> None:
    for credentials in (shop, company.masters["shops"], company.operator):
        token = await company.token(credentials)
        assert await company.introspect(credentials, token) == company.sealer.open(token)


async def test_a_master_client_may_know_of_its_platforms_tokens(company: Company, shop: Credentials) -> None:
    token = await company.token(shop)
    assert await company.introspect(company.masters["shops"], token) == company.sealer.open(token)


async def test_nobody_else_may_know(company: Company, shop: Credentials) -> None:
    neighbour = company.register(statement=approval("app_2", partner_id="ptr_2"))
    twin = company.register(statement=approval("app_3"))  # of the same partner
    wallet = company.add_staff(ClientType.WALLET, "wallet")
    bob = company.add_staff(ClientType.OPERATOR, "bob")
    token = await company.token(shop)
    for other in (neighbour, twin, company.masters["stalls"], company.operator, wallet):
        assert await company.introspect(other, token) is None
    assert await company.introspect(shop, await company.token(company.masters["shops"])) is None
    assert await company.introspect(bob, await company.token(company.operator)) is None  # neither has a platform
    assert await company.introspect(company.masters["shops"], await company.token(company.operator)) is None


@pytest.mark.parametrize("how", ["garbage", "expired", "revoked", "rotated", "blocked", "deleted", "private"])
async def test_what_does_not_hold_is_nothing_to_anyone(company: Company, shop: Credentials, how: str) -> None:
    client_id, token = shop.client.client_id, await company.token(shop)
    if how == "garbage":
        token += "="
    elif how == "expired":
        company.now = NOW + 600
    elif how == "revoked":
        company.revoke(client_id, token)
    elif how == "rotated":
        company.rotate(client_id)
    elif how == "blocked":
        company.run(lambda connection: block(connection, company.trail, "operator:test", Subject.CLIENT, client_id, 1))
    elif how == "deleted":
        company.delete(client_id)
    else:
        token = (await company.exchange(token)).private_token
    for credentials in (shop, company.masters["shops"]):
        assert await company.introspect(credentials, token) is None


async def test_introspection_writes_nothing(company: Company, shop: Credentials, database_url: str) -> None:
    token, before = await company.token(shop), rows(database_url)
    await company.introspect(shop, token)
    await company.introspect(shop, "garbage")
    assert rows(database_url) == before
