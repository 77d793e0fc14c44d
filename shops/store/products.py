"""Products in the database."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, insert, select
from sqlalchemy import bindparam as bind

from mesh.serving.paging import Page
from shops.money import Money
from shops.store.tables import PRODUCTS


@dataclass(frozen=True, slots=True)
class Product:
    """A row of `products`."""

    product_id: str
    shop_id: str
    display_name: str
    price: Money
    create_time: int


_INSERT = insert(PRODUCTS)
_LIST = (
    select(PRODUCTS)
    .where(PRODUCTS.c.shop_id == bind("shop"), PRODUCTS.c.product_id < bind("before"))
    .order_by(PRODUCTS.c.product_id.desc())
    .limit(bind("limit"))
)
_FIND = select(PRODUCTS).where(
    PRODUCTS.c.shop_id == bind("shop"), PRODUCTS.c.product_id.in_(bind("product_ids", expanding=True))
)
# Sorts after every id.
_AFTER_ALL = "~"


def insert_product(connection: Connection, product: Product) -> None:
    """Write a new product."""
    row = {
        "product_id": product.product_id,
        "shop_id": product.shop_id,
        "display_name": product.display_name,
        "currency_code": product.price.currency_code,
        "minor_units": product.price.minor_units,
        "create_time": product.create_time,
    }
    connection.execute(_INSERT, row)


def list_products(connection: Connection, shop_id: str, page: Page) -> Sequence[Product]:
    """Return a page of a shop's products, the newest first."""
    values = {"shop": shop_id, "before": page.after or _AFTER_ALL, "limit": page.limit}
    return [_product(row) for row in connection.execute(_LIST, values).mappings()]


def find_products(connection: Connection, shop_id: str, product_ids: Collection[str]) -> Mapping[str, Product]:
    """Return those of the products that are the shop's, by their ids."""
    rows = connection.execute(_FIND, {"shop": shop_id, "product_ids": list(product_ids)}).mappings()
    return {row["product_id"]: _product(row) for row in rows}


def _product(row: RowMapping) -> Product:
    return Product(
        product_id=row["product_id"],
        shop_id=row["shop_id"],
        display_name=row["display_name"],
        price=Money(row["currency_code"], row["minor_units"]),
        create_time=row["create_time"],
    )
