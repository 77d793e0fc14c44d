import pytest
from sqlalchemy import create_engine, text

from payments.ledger_check import LedgerCheck
from tests.unit.payments.payments_world import World, yen


@pytest.fixture
def busy(world: World) -> World:
    """Payments in every state."""
    world.create(yen(100))
    world.cancel(world.create(yen(200)))
    world.refund(world.create(yen(300), capture=True))
    world.refund(world.create(yen(1000), capture=True), yen(300))
    world.capture(world.create(yen(500)), yen(400))
    return world


# On PostgreSQL, replication applies changes without asking foreign keys, and checks can only be dropped.
WITHOUT_CONSTRAINTS = {
    "sqlite": ["PRAGMA foreign_keys = OFF", "PRAGMA ignore_check_constraints = ON"],
    "postgresql": [
        "SET session_replication_role = replica",
        """
        DO $$ DECLARE found record; BEGIN
          FOR found IN
            SELECT conrelid::regclass AS its_table, conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0
          LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.its_table, found.conname); END LOOP;
        END $$
        """,
    ],
}


def damage(world: World, statement: str) -> None:
    """Change a row as no use case would: without its constraints."""
    engine = create_engine(world.database.engine.url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for preparation in WITHOUT_CONSTRAINTS[engine.name]:
            connection.execute(text(preparation))
        assert connection.execute(text(statement)).rowcount == 1
    engine.dispose()


def kinds(world: World) -> set[str]:
    return {finding.what for finding in world.findings()}


def test_an_honest_ledger_has_no_findings(busy: World) -> None:
    check = LedgerCheck()
    assert busy.run(lambda connection: list(check.findings(connection))) == []
    tables = busy.everything()
    assert check.accounts == len(tables["ledger_accounts"]) == 5
    assert check.entries == len(tables["ledger_entries"]) > 20
    assert check.transactions == len(tables["ledger_transactions"])
    assert check.payments == len(tables["payments"]) == 5


ONE = "(owner_id, currency_code, kind, sequence) = (SELECT owner_id, currency_code, kind, sequence FROM ledger_entries"


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            f"UPDATE ledger_entries SET amount = amount + 1 WHERE {ONE} WHERE kind = 'FEE' LIMIT 1)",  # noqa: S608 - a constant
            {
                "balance_after is not the sum so far",
                "the balance is not the sum of the entries",
                "the transaction does not balance",
                "the payment is not what the ledger moved",
            },
        ),
        (
            f"UPDATE ledger_entries SET balance_after = 7 WHERE {ONE} WHERE kind = 'WALLET' LIMIT 1)",  # noqa: S608 - a constant
            {"balance_after is not the sum so far"},
        ),
        (
            "UPDATE ledger_accounts SET balance = balance + 1 WHERE kind = 'PARTNER'",
            {"the balance is not the sum of the entries"},
        ),
        (
            "UPDATE ledger_accounts SET entry_count = entry_count + 1 WHERE kind = 'HOLD'",
            {"the count of entries is wrong"},
        ),
        (
            f"DELETE FROM ledger_entries WHERE {ONE} WHERE kind = 'HOLD' AND sequence = 2)",  # noqa: S608 - a constant
            {
                "the account's entries have a gap",
                "balance_after is not the sum so far",
                "the balance is not the sum of the entries",
                "the count of entries is wrong",
                "the transaction does not balance",
                "the payment is not what the ledger moved",
            },
        ),
        (
            "DELETE FROM ledger_accounts WHERE kind = 'FEE'",
            {"the entry's account or transaction is missing"},
        ),
        (
            "DELETE FROM ledger_transactions WHERE kind = 'TOP_UP'",
            {"the entry's account or transaction is missing"},
        ),
        (
            "INSERT INTO ledger_transactions VALUES ('ltx_empty', 'TOP_UP', NULL, 0)",
            {"the transaction has no entries"},
        ),
        (
            "UPDATE payments SET captured = captured - 1 WHERE authorized = 500",
            {"the payment is not what the ledger moved"},
        ),
        (
            "UPDATE payments SET state = 'CANCELED' WHERE state = 'AUTHORIZED'",
            {"the payment is not what the ledger moved"},
        ),
    ],
)
def test_a_damaged_row_is_found(busy: World, statement: str, what: set[str]) -> None:
    damage(busy, statement)
    assert kinds(busy) == what


def test_a_finding_says_what_is_wrong_where(busy: World) -> None:
    damage(busy, "UPDATE ledger_accounts SET balance = 9 WHERE kind = 'WALLET'")
    (finding,) = busy.findings()
    assert finding.where == f"{busy.wallet_id} WALLET JPY"
    assert (finding.expected, finding.found) == (str(10_000 - 100 - 700 - 400), "9")
