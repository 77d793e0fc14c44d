from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError

from mesh.database import Database
from payments.store.tables import METADATA
from tests.unit.payments.payments_world import World, yen


def test_migrations_make_what_the_code_declares(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    assert database.read_here(differences) == []


def schema(connection: Connection) -> dict[str, object]:
    """Return all that the database itself knows of the tables; the order of columns aside, which changes nothing."""
    inspector = inspect(connection)
    found: dict[str, object] = {}
    for table in METADATA.tables:
        columns = {
            column["name"]: (str(column["type"]), column["nullable"], column["default"])
            for column in inspector.get_columns(table)
        }
        checks = {check["name"]: check["sqltext"] for check in inspector.get_check_constraints(table)}
        keys = sorted(str(sorted(key.items())) for key in inspector.get_foreign_keys(table))
        indexes = sorted(
            (index["name"] or "", index["column_names"], index["unique"]) for index in inspector.get_indexes(table)
        )
        uniques = sorted(tuple(unique["column_names"]) for unique in inspector.get_unique_constraints(table))
        found[table] = (columns, checks, inspector.get_pk_constraint(table), keys, indexes, uniques)
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, wr FROM pragma_table_list WHERE name <> 'sqlite_schema'"))
        found["without rowid"] = sorted(row.name for row in rows if row.wr)
    return found


def test_migrations_make_the_constraints_that_the_code_declares(
    database: Database, new_database_url: Callable[[], str]
) -> None:
    """Alembic does not compare CHECK constraints."""
    declared = Database(new_database_url())
    declared.run_here(METADATA.create_all)
    expected = declared.read_here(schema)
    declared.close()
    assert database.read_here(schema) == expected
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
