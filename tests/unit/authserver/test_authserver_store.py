from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from authserver.clients.store import clients as store
from authserver.clients.store.clients import Client
from authserver.tables import METADATA
from mesh.access.rules import ClientType
from mesh.storage.database import Database
from tests.databases import schema
from tests.unit.authserver.company import Company


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


def test_the_migrations_make_the_tables_that_the_code_declares(database: Database) -> None:
    assert database.read_here(differences) == []


def test_keys_checks_and_indexes_are_the_same_too(database: Database, new_database_url: Callable[[], str]) -> None:
    """Alembic does not compare CHECK constraints."""
    declared = Database(new_database_url())
    declared.run_here(METADATA.create_all)
    expected = declared.read_here(lambda connection: schema(connection, METADATA))
    declared.close()
    assert database.read_here(lambda connection: schema(connection, METADATA)) == expected
    assert "clients_belong" in str(expected)


@pytest.mark.parametrize(
    ("client_type", "platform_id", "partner_id"),
    [
        (ClientType.MASTER, "", ""),
        (ClientType.MASTER, "shops", "ptr_1"),
        (ClientType.PARTNER, "shops", ""),
        (ClientType.PARTNER, "", "ptr_1"),
        (ClientType.PARTNER, "", ""),
        (ClientType.WALLET, "shops", ""),
        (ClientType.OPERATOR, "shops", "ptr_1"),
        (ClientType.OPERATOR, "", "ptr_1"),
        (ClientType.MASTER, "unknown", ""),
        (ClientType.PARTNER, "shops", "unknown"),
    ],
)
def test_a_client_that_belongs_to_the_wrong_ones_is_not_stored(
    company: Company, client_type: ClientType, platform_id: str, partner_id: str
) -> None:
    client = company.register().client
    wrong = Client(
        client_id="cli_wrong",
        client_type=client_type,
        client_name="x",
        platform_id=platform_id,
        partner_id=partner_id,
        scopes=client.scopes,
        epochs=client.epochs,
        create_time=0,
    )
    with pytest.raises(IntegrityError):
        company.database.run_here(lambda connection: store.add_clients(connection, [wrong]))


def test_a_statement_is_stored_once(company: Company) -> None:
    company.database.run_here(lambda connection: store.add_statement(connection, "iss", "jti", "cli_1"))
    with pytest.raises(IntegrityError):
        company.database.run_here(lambda connection: store.add_statement(connection, "iss", "jti", "cli_2"))
