import pytest

from authserver.clients.provision import ProvisioningError
from authserver.errors import InvalidScope
from mesh.access.rules import ClientType
from tests.databases import rows
from tests.unit.authserver.company import MASTER_SCOPES, Company, approval


def test_a_master_client_belongs_to_its_platform_and_no_partner(company: Company) -> None:
    client = company.masters["shops"].client
    assert (client.client_type, client.platform_id, client.partner_id) == (ClientType.MASTER, "shops", "")
    assert client.scopes == MASTER_SCOPES


def test_the_ceiling_bounds_what_partners_get_not_what_the_master_client_has(company: Company) -> None:
    company.masters["kiosks"] = company.add_platform(
        "kiosks", frozenset({"clients.write"}), frozenset({"payments.read"})
    )
    statement = approval("app_9", partner_id="ptr_9", platform_id="kiosks")
    with pytest.raises(InvalidScope):
        company.register("kiosks", statement=statement, scope="clients.write")
    assert company.register("kiosks", statement=statement).client.scopes == {"payments.read"}


def test_a_platform_has_one_master_client(company: Company, database_url: str) -> None:
    before = rows(database_url)
    with pytest.raises(ProvisioningError, match="already"):
        company.add_platform("shops")
    assert rows(database_url) == before


@pytest.mark.parametrize(
    "platform_id", ["", "Shops", "-shops", "shops\n", "sh ops", "shöps", "a" * 64, "shops/x", "sh_ops", "٣"]
)
def test_a_malformed_platform_id_is_refused(company: Company, database_url: str, platform_id: str) -> None:
    before = rows(database_url)
    with pytest.raises(ProvisioningError):
        company.add_platform(platform_id)
    assert rows(database_url) == before


@pytest.mark.parametrize("client_type", [ClientType.OPERATOR, ClientType.WALLET])
async def test_staff_belongs_to_no_platform(company: Company, client_type: ClientType) -> None:
    created = company.add_staff(client_type, "bob")
    client = await company.authenticate(created.client.client_id, created.client_secret)
    assert client == created.client
    assert (client.client_type, client.platform_id, client.partner_id) == (client_type, "", "")


@pytest.mark.parametrize("client_type", [ClientType.MASTER, ClientType.PARTNER])
def test_platforms_clients_are_not_provisioned_as_staff(company: Company, client_type: ClientType) -> None:
    with pytest.raises(ProvisioningError):
        company.add_staff(client_type, "bob")


@pytest.mark.parametrize("name", ["", "   ", "\n", "a" * 201])
def test_an_empty_or_overlong_name_is_refused(company: Company, name: str) -> None:
    with pytest.raises(ProvisioningError):
        company.add_staff(ClientType.OPERATOR, name)


UNREADABLE = [
    frozenset[str](),
    frozenset({"a b"}),
    frozenset({""}),
    frozenset({"é"}),
    frozenset({'"'}),
    frozenset({"a" * 501}),
]


@pytest.mark.parametrize("scopes", UNREADABLE)
def test_a_client_whose_scopes_could_not_be_read_again_is_refused(company: Company, scopes: frozenset[str]) -> None:
    with pytest.raises(ProvisioningError):
        company.add_staff(ClientType.OPERATOR, "bob", scopes)


@pytest.mark.parametrize("ceiling", UNREADABLE)
def test_a_platform_whose_ceiling_could_not_be_read_again_is_refused(company: Company, ceiling: frozenset[str]) -> None:
    with pytest.raises(ProvisioningError):
        company.add_platform("kiosks", ceiling=ceiling)
