"""Serves `sekisho.shops.v1.ShopService`."""

from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from mesh.calls.wrapping import Context
from mesh.ids import new_id
from mesh.serving.fields import Fields
from mesh.serving.paging import parse_page
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from sekisho.shops.v1 import shop_service_pb2, shop_service_pb2_grpc
from shops.open_shop import open_shop
from shops.owner_tokens import owner_token
from shops.servicers.messages import shop_message, token_of
from shops.store.shops import Shop, list_active_shops, require_shop
from shops.store.tables import IDEMPOTENCY
from shops.visibility import Visibility

# Among whose requests the ids of OpenShop are unique: its callers have no other name yet.
_OWNER = "shops"


class ShopServiceServicer(shop_service_pb2_grpc.ShopServiceServicer):
    """Opens and shows shops.

    Args:
        database: The marketplace's.
        visibility: Who may see what.
        token_key: What owner tokens are made with.
        clock: Seconds since the epoch.
        wake_opening: Tells the worker that a shop is there to be opened.

    """

    def __init__(
        self,
        database: Database,
        visibility: Visibility,
        token_key: bytes,
        clock: Callable[[], float],
        wake_opening: Callable[[], None],
    ) -> None:
        self._database = database
        self._visibility = visibility
        self._token_key = token_key
        self._clock = clock
        self._wake_opening = wake_opening

    async def OpenShop(
        self, request: shop_service_pb2.OpenShopRequest, context: Context
    ) -> shop_service_pb2.OpenShopResponse:
        """Take a shop down, or find the one that the same request opened."""
        del context
        fields = Fields()
        fields.random_request_id(request.request_id)
        fields.text("display_name", request.display_name, max_length=200)
        fields.email("contact_email", request.contact_email)
        fields.text("business_description", request.business_description, max_length=500)
        fields.done()
        shop = await self._database.run(partial(self._open, request=request))
        self._wake_opening()
        token = owner_token(self._token_key, shop.shop_id, shop.generation)
        return shop_service_pb2.OpenShopResponse(shop=shop_message(shop), owner_token=token)

    async def GetShop(self, request: shop_service_pb2.GetShopRequest, context: Context) -> shop_service_pb2.Shop:
        """Show a shop."""
        token = token_of(context)
        shop = await self._database.read(partial(self._visibility.shop, shop_id=request.shop_id, token=token))
        return shop_message(shop)

    async def ListShops(
        self, request: shop_service_pb2.ListShopsRequest, context: Context
    ) -> shop_service_pb2.ListShopsResponse:
        """Show the shops that can sell."""
        del context
        page = parse_page(request.page_size, request.page_token)
        found = await self._database.read(partial(list_active_shops, page=page))
        shops, next_page_token = page.cut(found, "shop_id")
        return shop_service_pb2.ListShopsResponse(
            shops=[shop_message(shop) for shop in shops], next_page_token=next_page_token
        )

    def _open(self, connection: Connection, request: shop_service_pb2.OpenShopRequest) -> Shop:
        def effect() -> shop_service_pb2.Shop:
            shop = open_shop(
                connection,
                shop_id=new_id("shp"),
                display_name=request.display_name,
                contact_email=request.contact_email,
                business_description=request.business_description,
                now=to_ms(self._clock()),
            )
            return shop_message(shop)

        answer = IDEMPOTENCY.once(
            connection,
            owner=_OWNER,
            request_id=request.request_id,
            request=request,
            answer=shop_service_pb2.Shop,
            effect=effect,
        )
        return require_shop(connection, answer.shop_id)
