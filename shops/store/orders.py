"""Orders in the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, null, select, update
from sqlalchemy import bindparam as bind

from shops.money import Money
from shops.order_states import OrderState
from shops.store.tables import ORDER_ITEMS, ORDERS


@dataclass(frozen=True, slots=True)
class OrderItem:
    """A row of `order_items`; `minor_units` is the price of one."""

    product_id: str
    quantity: int
    minor_units: int


@dataclass(frozen=True, slots=True)
class Order:
    """A row of `orders`, with its items."""

    order_id: str
    shop_id: str
    items: tuple[OrderItem, ...]
    total: Money
    state: OrderState
    sealed_payment_code: bytes | None = field(repr=False)
    payment_id: str | None
    decline_reason: str | None
    attempts: int
    next_attempt_time: int | None
    create_time: int


_INSERT = insert(ORDERS)
_INSERT_ITEM = insert(ORDER_ITEMS)
_GET = select(ORDERS).where(ORDERS.c.order_id == bind("order_id"))
_GET_ITEMS = (
    select(ORDER_ITEMS.c.product_id, ORDER_ITEMS.c.quantity, ORDER_ITEMS.c.minor_units)
    .where(ORDER_ITEMS.c.order_id == bind("order_id"))
    .order_by(ORDER_ITEMS.c.position)
)
_LIST_DUE = (
    select(ORDERS.c.order_id)
    .where(ORDERS.c.next_attempt_time <= bind("now"))
    .order_by(ORDERS.c.next_attempt_time)
    .limit(bind("limit"))
)
# Each moves the state only from where it may come from, whoever else is at it.
_PENDING = (ORDERS.c.order_id == bind("id"), ORDERS.c.state == OrderState.PAYMENT_PENDING.value)
_MARK_PAID = (
    update(ORDERS)
    .where(*_PENDING)
    .values(
        state=OrderState.PAID.value, payment_id=bind("payment"), sealed_payment_code=null(), next_attempt_time=null()
    )
)
_MARK_DECLINED = (
    update(ORDERS)
    .where(*_PENDING)
    .values(
        state=OrderState.PAYMENT_DECLINED.value,
        decline_reason=bind("reason"),
        sealed_payment_code=null(),
        next_attempt_time=null(),
    )
)
_POSTPONE = update(ORDERS).where(*_PENDING).values(attempts=bind("tried"), next_attempt_time=bind("next_time"))
_MARK_REFUNDED = (
    update(ORDERS)
    .where(ORDERS.c.order_id == bind("id"), ORDERS.c.state == OrderState.PAID.value)
    .values(state=OrderState.REFUNDED.value)
)


def insert_order(connection: Connection, order: Order) -> None:
    """Write a new order and its items."""
    row = {
        "order_id": order.order_id,
        "shop_id": order.shop_id,
        "currency_code": order.total.currency_code,
        "minor_units": order.total.minor_units,
        "state": order.state.value,
        "sealed_payment_code": order.sealed_payment_code,
        "attempts": order.attempts,
        "next_attempt_time": order.next_attempt_time,
        "create_time": order.create_time,
    }
    items = [
        {
            "order_id": order.order_id,
            "position": position,
            "product_id": item.product_id,
            "quantity": item.quantity,
            "minor_units": item.minor_units,
        }
        for position, item in enumerate(order.items)
    ]
    connection.execute(_INSERT, row)
    connection.execute(_INSERT_ITEM, items)


def get_order(connection: Connection, order_id: str) -> Order | None:
    """Return an order; None if there is none."""
    row = connection.execute(_GET, {"order_id": order_id}).mappings().one_or_none()
    if row is None:
        return None
    items = connection.execute(_GET_ITEMS, {"order_id": order_id}).mappings()
    return Order(
        order_id=row["order_id"],
        shop_id=row["shop_id"],
        items=tuple(OrderItem(**item) for item in items),
        total=Money(row["currency_code"], row["minor_units"]),
        state=OrderState(row["state"]),
        sealed_payment_code=row["sealed_payment_code"],
        payment_id=row["payment_id"],
        decline_reason=row["decline_reason"],
        attempts=row["attempts"],
        next_attempt_time=row["next_attempt_time"],
        create_time=row["create_time"],
    )


def require_order(connection: Connection, order_id: str) -> Order:
    """Return an order that is there.

    Raises:
        LookupError: If it is not.

    """
    order = get_order(connection, order_id)
    if order is None:
        raise LookupError(f"the order {order_id} is gone")
    return order


def list_due_orders(connection: Connection, now: int, limit: int) -> Sequence[str]:
    """Return the ids of orders whose payment is due by `now`, those that wait longest first."""
    return list(connection.execute(_LIST_DUE, {"now": now, "limit": limit}).scalars())


def mark_paid(connection: Connection, order_id: str, payment_id: str) -> bool:
    """Record the payment and erase its code; return whether it was still awaited."""
    return connection.execute(_MARK_PAID, {"id": order_id, "payment": payment_id}).rowcount == 1


def mark_declined(connection: Connection, order_id: str, reason: str) -> bool:
    """Record that the payment was declined and erase its code; return whether it was still awaited."""
    return connection.execute(_MARK_DECLINED, {"id": order_id, "reason": reason}).rowcount == 1


def postpone_order(connection: Connection, order_id: str, attempts: int, next_attempt_time: int) -> None:
    """Record a payment attempt in vain."""
    connection.execute(_POSTPONE, {"id": order_id, "tried": attempts, "next_time": next_attempt_time})


def mark_refunded(connection: Connection, order_id: str) -> bool:
    """Record that the payment was paid back; return whether it was not yet."""
    return connection.execute(_MARK_REFUNDED, {"id": order_id}).rowcount == 1
