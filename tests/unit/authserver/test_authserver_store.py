import re
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from authserver import store
from authserver.store import Client
from mesh.access.rules import ClientType
from mesh.database import Database
from mesh.migrations import upgrade
from tests.unit.authserver.company import Company


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), store.METADATA))


def test_the_migrations_make_the_tables_that_the_code_declares(database: Database) -> None:
    assert database.read_here(differences) == []


def definitions(database: Database) -> dict[str, list[str]]:
    """Return the parts of each table's definition: columns, keys and checks."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name <> 'alembic_version'"
    found = database.read_here(lambda connection: connection.exec_driver_sql(query).all())
    return {name: sorted(re.sub(r"\s+", " ", line).strip(" ,") for line in sql.splitlines()) for name, sql in found}


def test_keys_and_checks_are_the_same_too(tmp_path: Path) -> None:
    migrated = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
    migrated.run_here(lambda connection: upgrade(connection, "authserver"))
    declared = Database(f"sqlite:///{tmp_path / 'declared.db'}")
    declared.run_here(store.METADATA.create_all)
    expected = definitions(declared)
    declared.close()
    assert definitions(migrated) == expected
    migrated.close()


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
        secret_digest=client.secret_digest,
        create_time=0,
    )
    with pytest.raises(IntegrityError):
        company.database.run_here(lambda connection: store.add_client(connection, wrong))


def test_a_statement_is_stored_once(company: Company) -> None:
    company.database.run_here(lambda connection: store.add_statement(connection, "iss", "jti", "cli_1"))
    with pytest.raises(IntegrityError):
        company.database.run_here(lambda connection: store.add_statement(connection, "iss", "jti", "cli_2"))
