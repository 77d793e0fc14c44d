"""Shops in the database."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy import Connection, RowMapping, insert, select, update
from sqlalchemy import bindparam as bind

from mesh.serving.paging import Page
from shops.opening_states import OpeningState
from shops.store.tables import SHOPS


@dataclass(frozen=True, slots=True)
class Shop:
    """A row of `shops`."""

    shop_id: str
    display_name: str
    contact_email: str
    business_description: str
    generation: int
    state: OpeningState
    application_id: str | None
    partner_id: str | None
    client_id: str | None
    sealed_client_secret: bytes | None = field(repr=False)
    rejection_reason: str | None
    attempts: int
    next_attempt_time: int | None
    create_time: int


_INSERT = insert(SHOPS)
_GET = select(SHOPS).where(SHOPS.c.shop_id == bind("shop_id"))
_LIST_ACTIVE = (
    select(SHOPS)
    .where(SHOPS.c.state == OpeningState.ACTIVE.value, SHOPS.c.shop_id < bind("before"))
    .order_by(SHOPS.c.shop_id.desc())
    .limit(bind("limit"))
)
_LIST_DUE = (
    select(SHOPS)
    .where(SHOPS.c.next_attempt_time <= bind("now"))
    .order_by(SHOPS.c.next_attempt_time)
    .limit(bind("limit"))
)
_UPDATE = (
    update(SHOPS)
    .where(SHOPS.c.shop_id == bind("id"), SHOPS.c.state == bind("state_before"))
    .values(
        state=bind("state"),
        application_id=bind("application_id"),
        partner_id=bind("partner_id"),
        client_id=bind("client_id"),
        sealed_client_secret=bind("sealed_client_secret"),
        rejection_reason=bind("rejection_reason"),
        attempts=bind("attempts"),
        next_attempt_time=bind("next_attempt_time"),
    )
)
# Sorts after every id.
_AFTER_ALL = "~"


def insert_shop(connection: Connection, shop: Shop) -> None:
    """Write a new shop."""
    connection.execute(_INSERT, asdict(shop))


def get_shop(connection: Connection, shop_id: str) -> Shop | None:
    """Return a shop, whatever its state; None if there is none."""
    row = connection.execute(_GET, {"shop_id": shop_id}).mappings().one_or_none()
    return _shop(row) if row else None


def require_shop(connection: Connection, shop_id: str) -> Shop:
    """Return a shop that is there.

    Raises:
        LookupError: If it is not.

    """
    shop = get_shop(connection, shop_id)
    if shop is None:
        raise LookupError(f"the shop {shop_id} is gone")
    return shop


def list_active_shops(connection: Connection, page: Page) -> Sequence[Shop]:
    """Return a page of the shops that can sell, the newest first."""
    values = {"before": page.after or _AFTER_ALL, "limit": page.limit}
    return [_shop(row) for row in connection.execute(_LIST_ACTIVE, values).mappings()]


def list_due_shops(connection: Connection, now: int, limit: int) -> Sequence[Shop]:
    """Return shops whose opening is due by `now`, those that wait longest first."""
    return [_shop(row) for row in connection.execute(_LIST_DUE, {"now": now, "limit": limit}).mappings()]


def move_shop(connection: Connection, before: OpeningState, shop: Shop) -> bool:
    """Write how far the opening of a shop has come; return whether it still stood where it stood before."""
    values = {**asdict(shop), "id": shop.shop_id, "state_before": before.value}
    return connection.execute(_UPDATE, values).rowcount == 1


def _shop(row: RowMapping) -> Shop:
    return Shop(**{**row, "state": OpeningState(row["state"])})
