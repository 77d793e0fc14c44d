import pytest

from authserver.errors import InvalidScope
from authserver.tokens.issue import issue_token
from tests.databases import rows
from tests.unit.authserver.company import CEILING, NOW, Company


def test_a_token_carries_the_clients_identity_and_all_of_its_scopes(company: Company) -> None:
    registered = company.register()
    issued = issue_token(company.sealer, registered.client, "", now=NOW + 0.9, ttl_seconds=600)
    token = company.sealer.open(issued.access_token)
    client = registered.client
    caller = token.caller
    assert (caller.client_id, caller.client_type) == (client.client_id, client.client_type)
    assert (caller.platform_id, caller.partner_id) == ("shops", "ptr_1")
    assert caller.scopes == issued.scopes == CEILING
    assert (token.expire_time, issued.expires_in, token.epochs) == (NOW + 601, 600, client.epochs)


def test_a_token_has_the_scopes_that_were_asked_for_and_no_others(company: Company) -> None:
    issued = issue_token(company.sealer, company.register().client, "payments.read", now=NOW, ttl_seconds=600)
    assert company.sealer.open(issued.access_token).caller.scopes == issued.scopes == {"payments.read"}


@pytest.mark.parametrize(
    "scope", ["clients.write", "payments.read clients.write", "payments.*", " ", "payments.read ", '"', "é", "a" * 501]
)
def test_a_scope_beyond_the_clients_or_malformed_is_refused(company: Company, scope: str) -> None:
    client = company.register().client
    with pytest.raises(InvalidScope):
        issue_token(company.sealer, client, scope, now=NOW, ttl_seconds=600)


def test_two_tokens_are_never_alike(company: Company) -> None:
    client = company.operator.client
    tokens = [issue_token(company.sealer, client, "", now=NOW, ttl_seconds=600).access_token for _ in range(2)]
    assert tokens[0] != tokens[1]
    assert company.sealer.open(tokens[0]).jti != company.sealer.open(tokens[1]).jti


async def test_authenticating_and_issuing_write_nothing(company: Company, database_url: str) -> None:
    before = rows(database_url)
    for _ in range(3):
        await company.token(company.operator)
    assert rows(database_url) == before
