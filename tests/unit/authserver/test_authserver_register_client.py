import pytest

from authserver.errors import (
    ClientNotFound,
    InvalidClient,
    InvalidScope,
    InvalidToken,
    SoftwareStatementUsed,
    UnapprovedSoftwareStatement,
)
from authserver.register_client import find_owned_client
from authserver.store import Client
from mesh.access.rules import Caller, ClientType
from mesh.errors import Code, ServiceError
from tests.databases import contents, rows
from tests.unit.authserver.company import CEILING, Company, approval, caller_of


def test_a_client_is_bound_to_its_partner_and_platform_with_the_whole_ceiling(company: Company) -> None:
    registered = company.register()
    client = company.authenticate(registered.client.client_id, registered.client_secret)
    assert client == registered.client
    assert (client.client_type, client.platform_id, client.partner_id) == (ClientType.PARTNER, "shops", "ptr_1")
    assert (client.client_name, client.scopes) == ("Tea shop", CEILING)


def test_a_client_may_have_less_than_the_ceiling(company: Company) -> None:
    assert company.register(scope="payments.read").client.scopes == {"payments.read"}


@pytest.mark.parametrize("scope", ["clients.write", "payments.read clients.write", "payments.read  ", "é"])
def test_a_scope_beyond_the_platforms_ceiling_is_refused_and_the_statement_stays_good(
    company: Company, database_url: str, scope: str
) -> None:
    before = rows(database_url)
    with pytest.raises(InvalidScope):
        company.register(scope=scope)
    assert rows(database_url) == before
    company.register()


def test_a_statement_registers_one_client_and_then_says_which(company: Company, database_url: str) -> None:
    registered = company.register()
    before = rows(database_url)
    with pytest.raises(SoftwareStatementUsed) as caught:
        company.register(scope="payments.read")
    assert caught.value.code is Code.ALREADY_EXISTS
    assert caught.value.metadata == {"client_id": registered.client.client_id}
    assert rows(database_url) == before


def test_a_used_statement_stays_used_after_its_client_is_gone(company: Company) -> None:
    client_id = company.register().client.client_id
    company.execute("DELETE FROM clients WHERE client_type = 'PARTNER'")
    with pytest.raises(SoftwareStatementUsed) as caught:
        company.register()
    assert caught.value.metadata == {"client_id": client_id}


def test_a_statement_of_another_platform_is_refused_used_or_not_in_the_same_words(
    company: Company, database_url: str
) -> None:
    refusals = set()
    for use_first in (False, True):
        if use_first:
            company.register()
        before = rows(database_url)
        with pytest.raises(UnapprovedSoftwareStatement) as caught:
            company.register("stalls")
        assert caught.value.code is Code.PERMISSION_DENIED
        refusals.add((caught.value.message, *caught.value.metadata.items()))
        assert rows(database_url) == before
    assert len(refusals) == 1


def test_the_same_id_from_another_issuer_is_another_approval(company: Company) -> None:
    one, other = company.register(), company.register(statement=approval(iss="bank", partner_id="ptr_2"))
    assert one.client.client_id != other.client.client_id


def test_a_partner_of_one_platform_is_never_anothers_too(company: Company, database_url: str) -> None:
    company.register()
    before = rows(database_url)
    with pytest.raises(UnapprovedSoftwareStatement):
        company.register("stalls", statement=approval("app_2", platform_id="stalls"))
    assert rows(database_url) == before


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


def test_rotating_kills_the_old_secret_and_its_tokens_at_once(company: Company) -> None:
    registered = company.register()
    client_id = registered.client.client_id
    token = company.token(registered)
    rotated = company.rotate(client_id)
    assert rotated.client_secret != registered.client_secret
    with pytest.raises(InvalidClient):
        company.authenticate(client_id, registered.client_secret)
    with pytest.raises(InvalidToken):
        company.exchange(token)
    company.exchange(company.token(rotated))


def test_each_rotation_makes_a_new_secret(company: Company) -> None:
    registered = company.register()
    secrets = [company.rotate(registered.client.client_id) for _ in range(3)]
    for credentials in secrets[:-1]:
        with pytest.raises(InvalidClient):
            company.token(credentials)
    company.token(secrets[-1])


def test_rotating_one_clients_secret_leaves_the_others_alone(company: Company) -> None:
    one, other = company.register(), company.register(statement=approval("app_2", partner_id="ptr_2"))
    token = company.token(other)
    company.rotate(one.client.client_id)
    company.exchange(token)
    company.token(other)


@pytest.mark.parametrize("platform_id", ["shops", "stalls"])
def test_only_the_own_partners_clients_are_rotated(company: Company, database_url: str, platform_id: str) -> None:
    registered = company.register()
    masters = company.masters
    victims = [
        masters["shops"],
        masters["stalls"],
        company.operator,
        *([registered] if platform_id == "stalls" else []),
    ]
    before = rows(database_url)
    for victim in victims:
        with pytest.raises(ServiceError, match="no such client"):
            company.rotate(victim.client.client_id, platform_id)
    assert rows(database_url) == before


def test_secrets_are_stored_nowhere(company: Company, database_url: str) -> None:
    registered = company.register()
    rotated = company.rotate(registered.client.client_id)
    content = contents(database_url)
    for credentials in (registered, rotated, company.operator, company.masters["shops"]):
        assert credentials.client_secret.removeprefix("scs_").encode() not in content
