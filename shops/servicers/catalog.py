"""Serves `sekisho.shops.v1.CatalogService`."""

from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from mesh.calls.wrapping import Context
from mesh.ids import new_id
from mesh.serving.fields import Fields
from mesh.serving.paging import parse_page
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from sekisho.shops.v1 import catalog_service_pb2, catalog_service_pb2_grpc
from shops.catalog import create_product
from shops.money import check_price
from shops.servicers.messages import money_of, product_message, token_of
from shops.store.products import list_products
from shops.store.tables import IDEMPOTENCY
from shops.visibility import Visibility


class CatalogServiceServicer(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Adds and shows products.

    Args:
        database: The marketplace's.
        visibility: Who may see what.
        clock: Seconds since the epoch.

    """

    def __init__(self, database: Database, visibility: Visibility, clock: Callable[[], float]) -> None:
        self._database = database
        self._visibility = visibility
        self._clock = clock

    async def CreateProduct(
        self, request: catalog_service_pb2.CreateProductRequest, context: Context
    ) -> catalog_service_pb2.Product:
        """Add a product to the caller's shop, or find the one that the same request added."""
        token = token_of(context)
        await self._database.read(partial(self._visibility.own_shop, shop_id=request.shop_id, token=token))
        fields = Fields()
        fields.request_id(request.request_id)
        fields.text("display_name", request.display_name, max_length=200)
        check_price(fields, "price", money_of(request.price))
        fields.done()
        return await self._database.run(partial(self._create, request=request))

    async def ListProducts(
        self, request: catalog_service_pb2.ListProductsRequest, context: Context
    ) -> catalog_service_pb2.ListProductsResponse:
        """Show what a shop sells."""
        token = token_of(context)
        shop = await self._database.read(partial(self._visibility.shop, shop_id=request.shop_id, token=token))
        page = parse_page(request.page_size, request.page_token)
        found = await self._database.read(partial(list_products, shop_id=shop.shop_id, page=page))
        products, next_page_token = page.cut(found, "product_id")
        return catalog_service_pb2.ListProductsResponse(
            products=[product_message(product) for product in products], next_page_token=next_page_token
        )

    def _create(
        self, connection: Connection, request: catalog_service_pb2.CreateProductRequest
    ) -> catalog_service_pb2.Product:
        def effect() -> catalog_service_pb2.Product:
            product = create_product(
                connection,
                product_id=new_id("prd"),
                shop_id=request.shop_id,
                display_name=request.display_name,
                price=money_of(request.price),
                now=to_ms(self._clock()),
            )
            return product_message(product)

        return IDEMPOTENCY.once(
            connection,
            owner=request.shop_id,
            request_id=request.request_id,
            request=request,
            answer=catalog_service_pb2.Product,
            effect=effect,
        )
