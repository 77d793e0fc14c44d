"""Takes an order down. `pay_order` has it paid."""

from collections.abc import Sequence

from sqlalchemy import Connection

from shops.catalog import price_items
from shops.money import total
from shops.order_states import OrderState
from shops.store.orders import Order, insert_order


def place_order(
    connection: Connection,
    *,
    order_id: str,
    shop_id: str,
    items: Sequence[tuple[str, int]],
    sealed_payment_code: bytes,
    now: int,
    next_attempt_time: int,
) -> Order:
    """Write an order that must be paid.

    Args:
        connection: To the database, in a transaction.
        order_id: Its id.
        shop_id: The shop, which can sell.
        items: Ids of products, and how many of each.
        sealed_payment_code: The buyer's consent, sealed for this order.
        now: In milliseconds.
        next_attempt_time: When a worker pays it, if the call that placed it ends before that, in milliseconds.

    Raises:
        ProductNotFound: If a product is not the shop's.
        InvalidRequest: If the products are priced in several currencies, or come to too much.

    """
    lines, prices = price_items(connection, shop_id, items)
    order = Order(
        order_id=order_id,
        shop_id=shop_id,
        items=lines,
        total=total(prices),
        state=OrderState.PAYMENT_PENDING,
        sealed_payment_code=sealed_payment_code,
        payment_id=None,
        decline_reason=None,
        attempts=0,
        next_attempt_time=next_attempt_time,
        create_time=now,
    )
    insert_order(connection, order)
    return order
