"""Makes messages of what is in the database, and the other way round."""

from mesh.calls.metadata import bearer_token
from mesh.calls.wrapping import Context
from mesh.timestamps import timestamp
from sekisho.payments.v1 import money_pb2
from sekisho.shops.v1 import catalog_service_pb2, order_service_pb2, shop_service_pb2
from shops.money import Money
from shops.store.orders import Order
from shops.store.products import Product
from shops.store.shops import Shop


def token_of(context: Context) -> str | None:
    """Return the bearer token of a call, None if it has none."""
    return bearer_token(context.invocation_metadata() or ())


def shop_message(shop: Shop) -> shop_service_pb2.Shop:
    """Return a shop as others may see it."""
    return shop_service_pb2.Shop(
        shop_id=shop.shop_id,
        display_name=shop.display_name,
        state=shop_service_pb2.Shop.State.Value(shop.state.value),
        rejection_reason=shop.rejection_reason or "",
        create_time=timestamp(shop.create_time),
    )


def product_message(product: Product) -> catalog_service_pb2.Product:
    """Return a product."""
    return catalog_service_pb2.Product(
        product_id=product.product_id,
        shop_id=product.shop_id,
        display_name=product.display_name,
        price=money_message(product.price),
        create_time=timestamp(product.create_time),
    )


def order_message(order: Order) -> order_service_pb2.Order:
    """Return an order, without its payment code."""
    return order_service_pb2.Order(
        order_id=order.order_id,
        shop_id=order.shop_id,
        items=[order_service_pb2.OrderItem(product_id=item.product_id, quantity=item.quantity) for item in order.items],
        total=money_message(order.total),
        state=order_service_pb2.Order.State.Value(order.state.value),
        payment_id=order.payment_id or "",
        decline_reason=order.decline_reason or "",
        create_time=timestamp(order.create_time),
    )


def money_message(money: Money) -> money_pb2.Money:
    """Return an amount."""
    return money_pb2.Money(currency_code=money.currency_code, minor_units=money.minor_units)


def money_of(message: money_pb2.Money) -> Money:
    """Read an amount."""
    return Money(message.currency_code, message.minor_units)
