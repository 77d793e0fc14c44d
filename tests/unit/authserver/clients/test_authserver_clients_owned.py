import pytest
from sqlalchemy import Connection

from authserver.clients.owned import find_owned_client
from authserver.clients.register import Credentials
from authserver.clients.store.clients import Client, list_all_clients, list_clients
from authserver.errors import ClientNotFound, InvalidClient, InvalidScope, InvalidToken
from authserver.revocation.store import Change, News, feed_position, read_after
from mesh.access.revocation import Subject
from mesh.access.rules import Caller
from mesh.serving.paging import Page, parse_page
from tests.databases import rows
from tests.unit.authserver.company import CEILING, Company, approval, caller_of


def find(company: Company, caller: Caller, client_id: str) -> Client:
    return company.database.read_here(lambda connection: find_owned_client(connection, caller, client_id))


def test_a_platform_finds_its_own_clients_only(company: Company) -> None:
    registered = company.register()
    client_id = registered.client.client_id
    assert find(company, caller_of(company.masters["shops"]), client_id) == registered.client
    refusals = set()
    for caller, wanted in [
        (caller_of(company.masters["stalls"]), client_id),
        (caller_of(company.operator), client_id),
        (caller_of(company.masters["shops"]), "cli_unknown"),
        (caller_of(company.masters["shops"]), ""),
        (caller_of(company.masters["shops"]), company.masters["shops"].client.client_id),
        (caller_of(company.masters["shops"]), company.operator.client.client_id),
        (caller_of(company.operator), company.operator.client.client_id),
    ]:
        with pytest.raises(ClientNotFound) as caught:
            find(company, caller, wanted)
        refusals.add((caught.value.message, *caught.value.metadata.items()))
    assert len(refusals) == 1


def test_only_the_own_partners_clients_are_changed(company: Company, database_url: str) -> None:
    registered = company.register()
    victims = {
        "shops": [*company.masters.values(), company.operator],
        "stalls": [*company.masters.values(), company.operator, registered],
    }
    before = rows(database_url)
    for platform_id, clients in victims.items():
        for client_id in (*(victim.client.client_id for victim in clients), "cli_unknown", "", "\0"):
            for change in (company.update, company.delete, company.rotate):
                with pytest.raises(ClientNotFound, match="no such client"):
                    change(client_id, platform_id)
    assert rows(database_url) == before


@pytest.fixture
def shop(company: Company) -> Credentials:
    return company.register(scope="payments.read")


def news_after(company: Company, position: int) -> list[News]:
    stretch = company.database.read_here(lambda connection: read_after(connection, position))
    return [entry.news for entry in stretch.entries]


async def test_a_client_gets_another_name_and_its_tokens_go_on(company: Company, shop: Credentials) -> None:
    client_id, token = shop.client.client_id, await company.token(shop)
    before = company.database.read_here(feed_position)
    updated = company.update(client_id, name="Coffee shop", scope="payments.read")
    assert updated.client_name == "Coffee shop"
    assert await company.authenticate(client_id, shop.client_secret) == updated
    await company.exchange(token)
    assert news_after(company, before) == [News(Change.CLIENT_CHANGED, client_id)]


async def test_a_wider_scope_ends_no_token_and_counts_for_new_ones(company: Company, shop: Credentials) -> None:
    client_id, token = shop.client.client_id, await company.token(shop)
    assert company.update(client_id, scope="payments.write payments.read").scopes == CEILING
    assert (await company.exchange(token)).caller.scopes == {"payments.read"}
    assert (await company.exchange(await company.token(shop))).caller.scopes == CEILING


def test_no_scope_is_the_whole_ceiling(company: Company, shop: Credentials) -> None:
    assert company.update(shop.client.client_id).scopes == CEILING


@pytest.mark.parametrize("scope", ["clients.write", "payments.read clients.write", "payments.*", "payments.read ", "é"])
def test_no_scope_goes_beyond_the_platforms_ceiling(
    company: Company, shop: Credentials, database_url: str, scope: str
) -> None:
    before = rows(database_url)
    with pytest.raises(InvalidScope):
        company.update(shop.client.client_id, name="Coffee shop", scope=scope)
    assert rows(database_url) == before


@pytest.mark.parametrize("scope", ["payments.read", "payments.write"])
async def test_a_scope_that_takes_something_away_ends_the_clients_tokens(company: Company, scope: str) -> None:
    shop = company.register(scope="" if scope == "payments.read" else "payments.read")
    client_id, token = shop.client.client_id, await company.token(shop)
    before = company.database.read_here(feed_position)
    assert company.update(client_id, scope=scope).scopes == {scope}
    with pytest.raises(InvalidToken):
        await company.exchange(token)
    assert (await company.exchange(await company.token(shop))).caller.scopes == {scope}
    assert news_after(company, before) == [News(Subject.CLIENT, client_id)]


def test_an_update_that_changes_nothing_leaves_nothing_behind(
    company: Company, shop: Credentials, database_url: str
) -> None:
    before = rows(database_url)
    assert company.update(shop.client.client_id, scope="payments.read") == shop.client
    assert rows(database_url) == before


async def test_a_deleted_client_is_gone_with_its_secrets_and_tokens(company: Company, shop: Credentials) -> None:
    client_id, token, revoked = shop.client.client_id, await company.token(shop), await company.token(shop)
    rotated = company.rotate(client_id, old_expire_time=company.now_ms + 1000)
    company.revoke(client_id, revoked)
    before = company.database.read_here(feed_position)
    company.delete(client_id)
    assert news_after(company, before) == [News(Subject.CLIENT, client_id)]
    for credentials in (shop, rotated):
        with pytest.raises(InvalidClient):
            await company.token(credentials)
    with pytest.raises(InvalidToken):
        await company.exchange(token)
    with pytest.raises(ClientNotFound):
        company.delete(client_id)


async def test_what_was_deleted_leaves_its_neighbours_alone(company: Company, shop: Credentials) -> None:
    twin = company.register(statement=approval("app_2"))  # of the same partner
    token = await company.token(twin)
    company.delete(shop.client.client_id)
    await company.exchange(token)
    await company.token(twin)


def test_changes_leave_lines_in_the_audit_log(company: Company, shop: Credentials) -> None:
    client_id, actor = shop.client.client_id, f"client:{company.masters['shops'].client.client_id}"
    company.update(client_id, scope="payments.write")
    line = company.last_audit_line()
    assert (line.actor, line.action, line.subject) == (actor, "client.update", client_id)
    assert line.details == {"scope": "payments.write"}
    company.delete(client_id)
    line = company.last_audit_line()
    assert (line.actor, line.action, line.subject) == (actor, "client.delete", client_id)
    assert line.details == {"partner_id": "ptr_1"}


def test_a_platforms_clients_are_listed_in_pages_the_newest_first(company: Company) -> None:
    own = [
        company.register(statement=approval(f"app_{number}", partner_id=f"ptr_{number % 3}")).client
        for number in range(5)
    ]
    company.register("stalls", statement=approval("app_9", partner_id="ptr_9", platform_id="stalls"))
    expected = sorted(own, key=lambda client: client.client_id, reverse=True)

    def read(page: Page) -> list[Client]:
        return list(company.database.read_here(lambda connection: list_clients(connection, "shops", page)))

    assert read(Page(50, "")) == expected  # neither the Master Client nor anyone else's
    found: list[Client] = []
    token, pages = "", 0
    while token or not pages:
        page = parse_page(2, token)
        clients, token = page.cut(read(page), "client_id")
        found += clients
        pages += 1
    assert (found, pages) == (expected, 3)


def test_a_listed_client_has_its_own_secrets(company: Company, shop: Credentials) -> None:
    other = company.register(statement=approval("app_2"))
    rotated = company.rotate(other.client.client_id, old_expire_time=company.now_ms + 1000)

    def read(connection: Connection) -> dict[str, Client]:
        return {client.client_id: client for client in list_clients(connection, "shops", Page(50, ""))}

    assert company.database.read_here(read) == {
        shop.client.client_id: shop.client,
        other.client.client_id: rotated.client,
    }


def test_operators_list_all_clients_or_those_of_a_platform(company: Company) -> None:
    own = [
        company.register(statement=approval(f"app_{number}")).client for number in range(99)
    ]  # with the others more than a page
    masters = {name: credentials.client for name, credentials in company.masters.items()}

    def listed(platform_id: str) -> list[Client]:
        found: list[Client] = []
        while True:
            before = found[-1].client_id if found else ""
            page = company.database.read_here(
                lambda connection, before=before: list_all_clients(connection, platform_id, before)
            )
            if not page:
                return found
            assert len(page) <= 100
            found += page

    def newest_first(*clients: Client) -> list[Client]:
        return sorted(clients, key=lambda client: client.client_id, reverse=True)

    assert listed("") == newest_first(*own, *masters.values(), company.operator.client)
    assert listed("shops") == newest_first(*own, masters["shops"])
    assert listed("stalls") == [masters["stalls"]]
    assert listed("unknown") == []
