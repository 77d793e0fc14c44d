"""A database that the first version made, with rows in it, is brought to the schema of this one."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from mesh.config import ConfigError
from mesh.storage.database import Database
from mesh.storage.migrations import upgrade
from mesh.storage.schema import require_current
from payments.store.events import count_events, list_events
from payments.store.payments import get_payment
from tests.databases import upgrade_to
from tests.unit.payments.payments_world import World, yen

# As the first version left them: id, partner, state, captured, refunded, when it last changed.
PAYMENTS = (
    ("pay_1", "ptn_a", "CAPTURED", 60, 10, 30),
    ("pay_2", "ptn_b", "AUTHORIZED", 0, 0, 10),
    ("pay_4", "ptn_a", "REFUNDED", 70, 70, 20),
    ("pay_3", "ptn_a", "CANCELED", 0, 0, 20),
)


def fill(connection: Connection) -> None:
    connection.execute(
        text("INSERT INTO partners VALUES ('ptn_a', 'plt', 1), ('ptn_b', 'plt', 1), ('ptn_c', 'plt', 1)")
    )
    connection.execute(text("INSERT INTO wallets VALUES ('wal_1', 'JPY', 1)"))
    for row in PAYMENTS:
        keys = ("id", "partner", "state", "captured", "refunded", "time")
        insert = text(
            "INSERT INTO payments VALUES"
            " (:id, :partner, 'wal_1', 'JPY', :state, 100, :captured, :refunded, 250, 'order 7', 5, :time)"
        )
        connection.execute(insert, dict(zip(keys, row, strict=True)))


@pytest.fixture
def first_version(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.run_here(lambda connection: upgrade_to(connection, "payments", "0001"))
    database.run_here(fill)
    yield database
    database.close()


def test_a_database_of_the_first_version_is_refused_until_it_is_upgraded(first_version: Database) -> None:
    with pytest.raises(ConfigError, match="lacks 1 migration"):
        first_version.read_here(lambda connection: require_current(connection, "payments"))
    assert first_version.run_here(lambda connection: upgrade(connection, "payments")) == ["0002"]
    first_version.read_here(lambda connection: require_current(connection, "payments"))


def test_each_payment_that_was_there_has_one_event_of_how_it_stands(first_version: Database) -> None:
    first_version.run_here(lambda connection: upgrade(connection, "payments"))
    for partner_id, payment_ids in {"ptn_a": ["pay_3", "pay_4", "pay_1"], "ptn_b": ["pay_2"], "ptn_c": []}.items():
        events = first_version.read_here(lambda connection, of=partner_id: list_events(connection, of, 0, 100))
        assert [event.sequence for event in events] == list(range(1, len(payment_ids) + 1))
        assert [event.payment.payment_id for event in events] == payment_ids
        for event in events:
            stored = first_version.read_here(
                lambda connection, event=event: get_payment(
                    connection, event.payment.partner_id, event.payment.payment_id
                )
            )
            assert event.payment == stored
    counts = first_version.read_here(lambda connection: count_events(connection, ["ptn_a", "ptn_b", "ptn_c"]))
    assert counts == {"ptn_a": 3, "ptn_b": 1, "ptn_c": 0}


def test_an_upgraded_database_goes_on_after_the_events_of_the_upgrade(database_url: str) -> None:
    database = Database(database_url)
    database.run_here(lambda connection: upgrade(connection, "payments"))
    world = World(database)
    held = world.create(yen(100))
    database.run_here(go_back)
    assert database.run_here(lambda connection: upgrade(connection, "payments")) == ["0002"]
    captured = world.capture(held)
    events = database.read_here(lambda connection: list_events(connection, world.partner_id, 0, 100))
    assert [(event.sequence, event.payment) for event in events] == [(1, held), (2, captured)]
    assert world.findings() == []
    database.close()


def go_back(connection: Connection) -> None:
    """Leave the database as the first version would have made it."""
    connection.execute(text("DROP TABLE payment_events"))
    connection.execute(text("ALTER TABLE partners DROP COLUMN event_count"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
