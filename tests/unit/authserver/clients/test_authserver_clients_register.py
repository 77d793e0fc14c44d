import pytest

from authserver.clients.blocking import block, unblock
from authserver.clients.store.clients import count_clients
from authserver.clients.update_platform import update_platform
from authserver.errors import (
    ClientQuotaExceeded,
    InvalidScope,
    SoftwareStatementUsed,
    UnapprovedSoftwareStatement,
)
from mesh.access.revocation import Subject
from mesh.access.rules import ClientType
from mesh.errors import Code
from tests.databases import contents, rows
from tests.unit.authserver.company import CEILING, Company, approval
from tests.unit.authserver.meeting import overlap


async def test_a_client_is_bound_to_its_partner_and_platform_with_the_whole_ceiling(company: Company) -> None:
    registered = company.register()
    client = await company.authenticate(registered.client.client_id, registered.client_secret)
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
    company.delete(client_id)
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


def test_a_platform_registers_as_many_clients_as_it_may(company: Company, database_url: str) -> None:
    company.masters["kiosks"] = company.add_platform("kiosks", max_clients=2)
    approvals = [approval(f"app_{number}", partner_id=f"ptr_{number}", platform_id="kiosks") for number in range(3)]
    first = company.register("kiosks", statement=approvals[0])
    company.register("kiosks", statement=approvals[1])
    before = rows(database_url)
    with pytest.raises(ClientQuotaExceeded) as caught:
        company.register("kiosks", statement=approvals[2])
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert rows(database_url) == before
    company.register(statement=approval("app_9", partner_id="ptr_9"))  # another platform's clients don't count
    company.delete(first.client.client_id, "kiosks")
    company.register("kiosks", statement=approvals[2])


def test_a_quota_that_was_changed_counts_from_then_on(company: Company) -> None:
    company.masters["kiosks"] = company.add_platform("kiosks", max_clients=1)
    approvals = [approval(f"app_{number}", partner_id=f"ptr_{number}", platform_id="kiosks") for number in range(3)]

    def change(max_clients: int) -> bool:
        return company.run(
            lambda connection: update_platform(connection, company.trail, "operator:test", "kiosks", max_clients)
        )

    company.register("kiosks", statement=approvals[0])
    assert change(2)
    assert company.last_audit_line().details == {"before": "1", "max_clients": "2"}
    company.register("kiosks", statement=approvals[1])
    assert change(1)  # those that are there stay
    with pytest.raises(ClientQuotaExceeded):
        company.register("kiosks", statement=approvals[2])


def test_the_last_client_of_a_quota_is_registered_once_by_two_at_once(company: Company) -> None:
    company.masters["kiosks"] = company.add_platform("kiosks", max_clients=1)
    one, other = (
        company.registering("kiosks", approval(f"app_{number}", partner_id=f"ptr_{number}", platform_id="kiosks"))
        for number in range(2)
    )
    with pytest.raises(ClientQuotaExceeded):
        overlap(company.database, one, other)
    assert company.run(lambda connection: count_clients(connection, "kiosks")) == 1


def test_a_blocked_partner_is_not_registered_until_it_is_unblocked(company: Company, database_url: str) -> None:
    args = (company.trail, "workload:payments", Subject.PARTNER, "ptr_1")
    company.run(lambda connection: block(connection, *args, company.now_ms))
    before = rows(database_url)
    with pytest.raises(UnapprovedSoftwareStatement, match="blocked"):
        company.register()
    assert rows(database_url) == before
    company.register(statement=approval("app_2", partner_id="ptr_2"))
    company.run(lambda connection: unblock(connection, *args))
    company.register()


def test_registering_leaves_a_line_in_the_audit_log(company: Company) -> None:
    client = company.register(scope="payments.read").client
    line = company.last_audit_line()
    assert (line.action, line.subject) == ("client.register", client.client_id)
    assert line.actor == f"client:{company.masters['shops'].client.client_id}"
    assert line.details == {
        "partner_id": "ptr_1",
        "scope": "payments.read",
        "software_statement": "app_1",
        "token_endpoint_auth_method": "client_secret_basic",
    }


def test_secrets_are_stored_nowhere(company: Company, database_url: str) -> None:
    registered = company.register()
    rotated = company.rotate(registered.client.client_id)
    content = contents(database_url)
    for credentials in (registered, rotated, company.operator, company.masters["shops"]):
        assert credentials.client_secret.removeprefix("scs_").encode() not in content
