"""How long the story takes in a mesh of real processes: a shop opens, an order is paid."""

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Row, Scale, Spread, say
from cli.demo.cast import Cast, Stubs
from cli.home import Home, MeshAddresses
from cli.local.up import mesh_up
from cli.wire import public_channel, token_request
from sekisho.payments.v1 import partner_review_service_pb2, wallet_service_pb2
from sekisho.payments.v1.money_pb2 import Money
from sekisho.shops.v1 import catalog_service_pb2, order_service_pb2, shop_service_pb2

_ORDERS_PER_SHOP = 20
_LOOK_SECONDS = 0.01
_OPEN_SECONDS = 20.0
_PRICE = Money(currency_code="JPY", minor_units=1_200)
_TOP_UP = Money(currency_code="JPY", minor_units=1_000_000)

_Shop = shop_service_pb2.Shop


@dataclass(frozen=True, slots=True)
class _Opened:
    """A shop and its merchant's token."""

    shop_id: str
    owner_token: str


async def story(scale: Scale) -> list[Row]:
    """Measure the opening of shops, and the checkout of orders in them, one after the other."""
    openings: list[float] = []
    checkouts: list[float] = []
    async with _acts() as acts:
        for number in range(scale.rounds + 1):
            say(f"story: shop {number} of {scale.rounds}" if number else "story: warming up")
            start = time.perf_counter()
            shop = await acts.open_shop()
            openings.append(time.perf_counter() - start)
            product_id = await acts.create_product(shop)
            codes = [await acts.payment_code() for _ in range(_ORDERS_PER_SHOP)]
            for code in codes:
                start = time.perf_counter()
                await acts.place_order(shop.shop_id, product_id, code)
                checkouts.append(time.perf_counter() - start)
    return [
        Row("story.shop", "s/shop", Spread.of(openings[1:])),
        Row("story.order", "s/order", Spread.of(checkouts[_ORDERS_PER_SHOP:])),
    ]


class _Acts:
    """What merchants, operator and buyers do."""

    def __init__(self, stubs: Stubs, operator_token: str, wallet_token: str, wallet_id: str) -> None:
        self._stubs = stubs
        self._cast = Cast()
        self._operator_token = operator_token
        self._wallet_token = wallet_token
        self._wallet_id = wallet_id

    async def open_shop(self) -> _Opened:
        """Open a shop, and approve it as soon as it is in review; return once it is active."""
        name = f"Shop {uuid.uuid4()}"
        request = shop_service_pb2.OpenShopRequest(
            request_id=str(uuid.uuid4()), display_name=name, contact_email="a@example.com", business_description="Tea"
        )
        answer = await self._cast.call("merchant", self._stubs.shops.OpenShop, request)
        opened = _Opened(answer.shop.shop_id, answer.owner_token)
        await self._becomes(opened, _Shop.IN_REVIEW)
        pending = await self._cast.call(
            "operator",
            self._stubs.reviews.ListPendingPartnerApplications,
            partner_review_service_pb2.ListPendingPartnerApplicationsRequest(),
            self._operator_token,
        )
        application = next(each for each in pending.applications if each.merchant_name == name)
        approval = partner_review_service_pb2.ApprovePartnerApplicationRequest(
            application_id=application.application_id
        )
        await self._cast.call("operator", self._stubs.reviews.ApprovePartnerApplication, approval, self._operator_token)
        await self._becomes(opened, _Shop.ACTIVE)
        return opened

    async def create_product(self, shop: _Opened) -> str:
        """Put something on sale; return its id."""
        request = catalog_service_pb2.CreateProductRequest(
            request_id=str(uuid.uuid4()), shop_id=shop.shop_id, display_name="Sencha", price=_PRICE
        )
        product = await self._cast.call("merchant", self._stubs.catalog.CreateProduct, request, shop.owner_token)
        return str(product.product_id)

    async def payment_code(self) -> str:
        """Return a code to pay with."""
        request = wallet_service_pb2.IssuePaymentCodeRequest(wallet_id=self._wallet_id, limit=_PRICE)
        code = await self._cast.call("wallet", self._stubs.wallets.IssuePaymentCode, request, self._wallet_token)
        return str(code.payment_code)

    async def place_order(self, shop_id: str, product_id: str, code: str) -> None:
        """Check out.

        Raises:
            ValueError: If the order is not paid then.

        """
        item = order_service_pb2.OrderItem(product_id=product_id, quantity=1)
        request = order_service_pb2.PlaceOrderRequest(
            request_id=str(uuid.uuid4()), shop_id=shop_id, items=[item], payment_code=code
        )
        placed = await self._cast.call("buyer", self._stubs.orders.PlaceOrder, request)
        if placed.order.state != order_service_pb2.Order.PAID:
            raise ValueError(f"an order was not paid: {placed.order}")

    async def _becomes(self, opened: _Opened, state: "_Shop.State.ValueType") -> None:
        request = shop_service_pb2.GetShopRequest(shop_id=opened.shop_id)
        deadline = time.monotonic() + _OPEN_SECONDS
        while time.monotonic() < deadline:
            shop = await self._cast.call("merchant", self._stubs.shops.GetShop, request, opened.owner_token)
            if shop.state == state:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"a shop did not become {_Shop.State.Name(state)}")


@asynccontextmanager
async def _acts() -> AsyncIterator[_Acts]:
    """Run a mesh, and open a wallet with money in it."""
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder:
        async with mesh_up(Home.at(Path(folder)), port=0) as (addresses, _), AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(public_channel(addresses.gateway, addresses.ca))
            shops = await stack.enter_async_context(public_channel(addresses.shops, addresses.ca))
            yield await _prepared(addresses, Stubs(gateway, shops))


async def _prepared(addresses: MeshAddresses, stubs: Stubs) -> _Acts:
    cast = Cast()
    operator = await cast.call("operator", stubs.tokens.IssueToken, token_request(addresses.operator_credentials))
    wallets = await cast.call("wallet", stubs.tokens.IssueToken, token_request(addresses.wallet_credentials))
    opening = wallet_service_pb2.OpenWalletRequest(request_id=str(uuid.uuid4()), currency_code=_PRICE.currency_code)
    wallet = await cast.call("wallet", stubs.wallets.OpenWallet, opening, wallets.access_token)
    top_up = wallet_service_pb2.TopUpWalletRequest(
        request_id=str(uuid.uuid4()), wallet_id=wallet.wallet_id, amount=_TOP_UP
    )
    await cast.call("wallet", stubs.wallets.TopUpWallet, top_up, wallets.access_token)
    return _Acts(stubs, operator.access_token, wallets.access_token, wallet.wallet_id)
