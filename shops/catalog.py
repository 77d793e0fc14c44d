"""What each shop sells."""

from collections.abc import Sequence

from sqlalchemy import Connection

from mesh.errors import Code, ServiceError
from shops.money import Money
from shops.store.orders import OrderItem
from shops.store.products import Product, find_products, insert_product


class ProductNotFound(ServiceError):
    """The shop has no such product."""

    code = Code.NOT_FOUND


def create_product(
    connection: Connection, *, product_id: str, shop_id: str, display_name: str, price: Money, now: int
) -> Product:
    """Add a product to a shop; `now` in milliseconds."""
    product = Product(product_id, shop_id, display_name, price, now)
    insert_product(connection, product)
    return product


def price_items(
    connection: Connection, shop_id: str, items: Sequence[tuple[str, int]]
) -> tuple[tuple[OrderItem, ...], Sequence[tuple[Money, int]]]:
    """Return the lines of an order with today's prices, and each price with its quantity.

    Args:
        connection: To the database.
        shop_id: Whose products they must be.
        items: Ids of products, and how many of each.

    Raises:
        ProductNotFound: If a product is not the shop's.

    """
    products = find_products(connection, shop_id, {product_id for product_id, _ in items})
    if missing := [product_id for product_id, _ in items if product_id not in products]:
        raise ProductNotFound("the shop has no such product", product_id=missing[0])
    lines = tuple(
        OrderItem(product_id, quantity, products[product_id].price.minor_units) for product_id, quantity in items
    )
    return lines, [(products[product_id].price, quantity) for product_id, quantity in items]
