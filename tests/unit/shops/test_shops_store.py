from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from mesh.serving.paging import Page
from mesh.storage.database import Database
from shops.catalog import ProductNotFound, create_product
from shops.money import Money
from shops.open_shop import open_shop
from shops.opening_states import OpeningState
from shops.order_states import OrderState
from shops.place_order import place_order
from shops.store.orders import (
    Order,
    get_order,
    list_due_orders,
    mark_declined,
    mark_paid,
    mark_refunded,
    postpone_order,
    require_order,
)
from shops.store.products import find_products, list_products
from shops.store.shops import Shop, get_shop, list_active_shops, list_due_shops, move_shop, require_shop
from shops.store.tables import METADATA


def opened(connection: Connection, shop_id: str, now: int = 1000) -> Shop:
    return open_shop(
        connection,
        shop_id=shop_id,
        display_name="Kissa",
        contact_email="owner@kissa.example",
        business_description="Coffee",
        now=now,
    )


def activated(connection: Connection, shop_id: str) -> Shop:
    shop = opened(connection, shop_id)
    active = replace(shop, state=OpeningState.ACTIVE, client_id="cli_1", next_attempt_time=None)
    move_shop(connection, shop.state, active)
    return active


def stocked(connection: Connection, shop_id: str, product_id: str, price: Money) -> None:
    create_product(connection, product_id=product_id, shop_id=shop_id, display_name="Beans", price=price, now=1000)


def placed(connection: Connection, order_id: str = "ord_1", next_attempt_time: int = 2000) -> Order:
    return place_order(
        connection,
        order_id=order_id,
        shop_id="shp_1",
        items=[("prd_1", 3), ("prd_2", 1), ("prd_1", 1)],
        sealed_payment_code=b"sealed",
        now=1000,
        next_attempt_time=next_attempt_time,
    )


@pytest.fixture
def stocked_database(database: Database) -> Database:
    def work(connection: Connection) -> None:
        for shop_id in ("shp_1", "shp_2"):
            activated(connection, shop_id)
        stocked(connection, "shp_1", "prd_1", Money("JPY", 500))
        stocked(connection, "shp_1", "prd_2", Money("JPY", 90))
        stocked(connection, "shp_2", "prd_3", Money("JPY", 1))

    database.run_here(work)
    return database


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_shop_is_read_as_it_was_written(database: Database) -> None:
    shop = database.run_here(lambda connection: opened(connection, "shp_1"))
    assert database.read_here(lambda connection: get_shop(connection, "shp_1")) == shop
    assert database.read_here(lambda connection: get_shop(connection, "shp_2")) is None
    moved = replace(
        shop,
        state=OpeningState.ACTIVE,
        application_id="app_1",
        partner_id="ptn_1",
        client_id="cli_1",
        sealed_client_secret=b"sealed",
        attempts=3,
        next_attempt_time=None,
    )
    assert database.run_here(lambda connection: move_shop(connection, OpeningState.APPLYING, moved))
    assert database.read_here(lambda connection: require_shop(connection, "shp_1")) == moved


def test_a_shop_moves_only_from_where_it_is_thought_to_be(database: Database) -> None:
    shop = database.run_here(lambda connection: opened(connection, "shp_1"))
    rejected = replace(shop, state=OpeningState.REJECTED)
    assert not database.run_here(lambda connection: move_shop(connection, OpeningState.IN_REVIEW, rejected))
    assert database.read_here(lambda connection: require_shop(connection, "shp_1")) == shop


def test_shops_that_are_due_come_in_the_order_of_their_times(database: Database) -> None:
    def work(connection: Connection) -> None:
        for name, now in (("shp_1", 3000), ("shp_2", 1000), ("shp_3", 2000), ("shp_4", 4000)):
            opened(connection, name, now)
        activated(connection, "shp_5")

    database.run_here(work)
    due = database.read_here(lambda connection: list_due_shops(connection, now=3000, limit=10))
    assert [shop.shop_id for shop in due] == ["shp_2", "shp_3", "shp_1"]
    assert len(database.read_here(lambda connection: list_due_shops(connection, now=3000, limit=2))) == 2


def test_active_shops_are_listed_from_the_newest_on_in_pages(database: Database) -> None:
    def work(connection: Connection) -> None:
        for number in range(5):
            activated(connection, f"shp_{number}")
        opened(connection, "shp_9")

    database.run_here(work)
    first = database.read_here(lambda connection: list_active_shops(connection, Page(2, "")))
    assert [shop.shop_id for shop in first] == ["shp_4", "shp_3", "shp_2"]  # one more than the page, on purpose
    second = database.read_here(lambda connection: list_active_shops(connection, Page(2, "shp_3")))
    assert [shop.shop_id for shop in second] == ["shp_2", "shp_1", "shp_0"]


def test_products_are_found_in_their_own_shop_only(stocked_database: Database) -> None:
    names = {"prd_1", "prd_3", "prd_none"}
    found = stocked_database.read_here(lambda connection: find_products(connection, "shp_1", names))
    assert list(found) == ["prd_1"]
    assert found["prd_1"].price == Money("JPY", 500)
    listed = stocked_database.read_here(lambda connection: list_products(connection, "shp_1", Page(10, "")))
    assert [product.product_id for product in listed] == ["prd_2", "prd_1"]


def test_an_order_is_read_as_it_was_written(stocked_database: Database) -> None:
    order = stocked_database.run_here(placed)
    assert order.total == Money("JPY", 3 * 500 + 90 + 500)
    assert stocked_database.read_here(lambda connection: require_order(connection, "ord_1")) == order
    assert stocked_database.read_here(lambda connection: get_order(connection, "ord_2")) is None


def test_an_order_with_another_shops_product_is_refused_and_leaves_nothing(stocked_database: Database) -> None:
    def work(connection: Connection) -> Order:
        return place_order(
            connection,
            order_id="ord_1",
            shop_id="shp_2",
            items=[("prd_3", 1), ("prd_1", 1)],
            sealed_payment_code=b"sealed",
            now=1000,
            next_attempt_time=2000,
        )

    with pytest.raises(ProductNotFound) as refused:
        stocked_database.run_here(work)
    assert refused.value.metadata == {"product_id": "prd_1"}
    assert stocked_database.read_here(lambda connection: get_order(connection, "ord_1")) is None


def test_orders_keep_the_price_of_their_day(stocked_database: Database) -> None:
    stocked_database.run_here(placed)
    with stocked_database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE products SET minor_units = 7")
    order = stocked_database.read_here(lambda connection: require_order(connection, "ord_1"))
    assert [item.minor_units for item in order.items] == [500, 90, 500]


def test_orders_that_are_due_are_listed_until_they_are_decided(stocked_database: Database) -> None:
    def due(now: int) -> list[str]:
        return list(stocked_database.read_here(lambda connection: list_due_orders(connection, now=now, limit=10)))

    stocked_database.run_here(lambda connection: placed(connection, "ord_1", 2000))
    stocked_database.run_here(lambda connection: placed(connection, "ord_2", 1000))
    stocked_database.run_here(lambda connection: placed(connection, "ord_3", 1000))
    assert due(999) == []
    assert set(due(1000)) == {"ord_2", "ord_3"}
    stocked_database.run_here(lambda connection: mark_paid(connection, "ord_2", "pay_1"))
    stocked_database.run_here(lambda connection: postpone_order(connection, "ord_3", 4, 9000))
    assert due(2000) == ["ord_1"]
    stocked_database.run_here(lambda connection: mark_declined(connection, "ord_1", "INSUFFICIENT_FUNDS"))
    assert due(9000) == ["ord_3"]
    assert stocked_database.read_here(lambda connection: require_order(connection, "ord_3")).attempts == 4


Move = Callable[..., object]
MOVES: dict[str, Move] = {
    "paid": lambda connection, order_id: mark_paid(connection, order_id, "pay_1"),
    "declined": lambda connection, order_id: mark_declined(connection, order_id, "INSUFFICIENT_FUNDS"),
    "refunded": mark_refunded,
    "postponed": lambda connection, order_id: postpone_order(connection, order_id, 9, 9000),
}
ENDS = {
    (): OrderState.PAYMENT_PENDING,
    ("paid",): OrderState.PAID,
    ("declined",): OrderState.PAYMENT_DECLINED,
    ("paid", "refunded"): OrderState.REFUNDED,
}


@pytest.mark.parametrize("path", list(ENDS))
@pytest.mark.parametrize("move", list(MOVES))
def test_an_order_moves_only_along_its_path(stocked_database: Database, path: tuple[str, ...], move: str) -> None:
    stocked_database.run_here(placed)
    for step in path:
        assert stocked_database.run_here(partial(MOVES[step], order_id="ord_1"))
    before = stocked_database.read_here(lambda connection: require_order(connection, "ord_1"))
    stocked_database.run_here(lambda connection: MOVES[move](connection, "ord_1"))
    after = stocked_database.read_here(lambda connection: require_order(connection, "ord_1"))
    assert before.state is ENDS[path]
    if move == "postponed" and not path:
        assert after == replace(before, attempts=9, next_attempt_time=9000)
    elif (*path, move) in ENDS:
        assert after.state is ENDS[(*path, move)]
    else:
        assert after == before


def test_an_order_of_no_shop_is_impossible(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.run_here(lambda connection: stocked(connection, "shp_none", "prd_1", Money("JPY", 1)))
