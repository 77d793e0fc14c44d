"""Who may see and run what. What is not for the caller is answered exactly as what does not exist."""

from sqlalchemy import Connection

from mesh.errors import Code, ServiceError
from shops.errors import ShopNotFound
from shops.opening_states import OpeningState
from shops.owner_tokens import order_token, owner_token, same_token
from shops.store.orders import Order, get_order
from shops.store.shops import Shop, get_shop


class InvalidOwnerToken(ServiceError):
    """The call has no token, or not the one of the shop's owner; or there is no such shop."""

    code = Code.UNAUTHENTICATED


class OrderNotFound(ServiceError):
    """There is no such order for the caller."""

    code = Code.NOT_FOUND


class OwnerTokenRequired(ServiceError):
    """The order token reads the order; this takes the token of the shop's owner."""

    code = Code.PERMISSION_DENIED


class Visibility:
    """Finds what a bearer token lets its holder see.

    Args:
        token_key: What owner and order tokens are made with.

    """

    def __init__(self, token_key: bytes) -> None:
        self._key = token_key

    def active_shop(self, connection: Connection, shop_id: str) -> Shop:
        """Return a shop that can sell.

        Raises:
            ShopNotFound: If there is none.

        """
        return self.shop(connection, shop_id, None)

    def shop(self, connection: Connection, shop_id: str, token: str | None) -> Shop:
        """Return a shop to anyone once it is active, and before that to its owner.

        Raises:
            ShopNotFound: To others, and if there is none.

        """
        shop = get_shop(connection, shop_id)
        if shop is None or not (shop.state is OpeningState.ACTIVE or self._is_owner(shop, token)):
            raise ShopNotFound("there is no such shop")
        return shop

    def own_shop(self, connection: Connection, shop_id: str, token: str | None) -> Shop:
        """Return a shop to its owner.

        Raises:
            InvalidOwnerToken: To others, and if there is none.

        """
        shop = get_shop(connection, shop_id)
        if shop is None or not self._is_owner(shop, token):
            raise InvalidOwnerToken("this takes the owner token of the shop")
        return shop

    def order(self, connection: Connection, order_id: str, token: str | None) -> Order:
        """Return an order to who placed it, and to the shop's owner.

        Raises:
            OrderNotFound: To others, and if there is none.

        """
        order, _ = self._order(connection, order_id, token)
        return order

    def own_order(self, connection: Connection, order_id: str, token: str | None) -> tuple[Order, Shop]:
        """Return an order, and its shop, to the shop's owner.

        Raises:
            OwnerTokenRequired: To who placed it.
            OrderNotFound: To others, and if there is none.

        """
        order, shop = self._order(connection, order_id, token)
        if not self._is_owner(shop, token):
            raise OwnerTokenRequired("this takes the owner token of the shop")
        return order, shop

    def _order(self, connection: Connection, order_id: str, token: str | None) -> tuple[Order, Shop]:
        order = get_order(connection, order_id)
        shop = get_shop(connection, order.shop_id) if order else None
        if (
            order is None
            or shop is None
            or not (self._is_owner(shop, token) or same_token(order_token(self._key, order_id), token))
        ):
            raise OrderNotFound("there is no such order")
        return order, shop

    def _is_owner(self, shop: Shop, token: str | None) -> bool:
        return same_token(owner_token(self._key, shop.shop_id, shop.generation), token)
