from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from mesh.storage.database import Database
from payments.store.tables import METADATA
from tests.databases import schema
from tests.unit.payments.payments_world import World, yen


def test_migrations_make_what_the_code_declares(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    assert database.read_here(differences) == []


def test_migrations_make_the_constraints_that_the_code_declares(
    database: Database, new_database_url: Callable[[], str]
) -> None:
    """Alembic does not compare CHECK constraints."""
    declared = Database(new_database_url())
    declared.run_here(METADATA.create_all)
    expected = declared.read_here(lambda connection: schema(connection, METADATA))
    declared.close()
    assert database.read_here(lambda connection: schema(connection, METADATA)) == expected
    assert "account_side" in str(expected)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_accounts SET balance = -1 WHERE kind = 'WALLET'",
        "UPDATE ledger_accounts SET balance = -1 WHERE kind = 'PARTNER'",
        "UPDATE ledger_accounts SET balance = 1 WHERE kind = 'CASH'",
        "UPDATE ledger_accounts SET balance = 9000000000000001 WHERE kind = 'WALLET'",
        "UPDATE ledger_entries SET amount = 0 WHERE kind = 'FEE'",
        "UPDATE payments SET refunded = captured + 1",
        "UPDATE payments SET captured = authorized + 1",
        "UPDATE payments SET state = 'REFUNDED'",
        "UPDATE payments SET state = 'AUTHORIZED'",
        "UPDATE payments SET fee_basis_points = 10001",
        "UPDATE payments SET partner_id = 'ptn_none'",
        "UPDATE payment_codes SET payment_id = 'pay_none'",
        "UPDATE payment_events SET payment_id = 'pay_none'",
        "UPDATE payment_events SET sequence = 0",
        "UPDATE payment_events SET state = 'PAID'",
        "UPDATE payment_events SET refunded = captured + 1",
        "INSERT INTO payment_events SELECT * FROM payment_events",
        "UPDATE partner_applications SET state = 'REJECTED'",
        "DELETE FROM ledger_accounts",
        "DELETE FROM ledger_transactions",
        "DELETE FROM payments",
    ],
)
def test_the_database_refuses_what_makes_no_sense(world: World, statement: str) -> None:
    world.create(yen(4_000), capture=True)
    with pytest.raises(IntegrityError):
        world.run(lambda connection: connection.execute(text(statement)))
