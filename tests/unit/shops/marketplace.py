"""The parts of the marketplace below its servicers, put together on a real database and a real channel."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from mesh.channels.channel import open_channel
from mesh.storage.database import Database
from shops.backoff import Backoff
from shops.catalog import create_product
from shops.credentials import Credentials
from shops.gateway_client import GatewayClient
from shops.money import Money
from shops.open_shop import open_shop
from shops.opening import Opening, Pauses
from shops.pay_order import PayOrder
from shops.place_order import place_order
from shops.refund_order import RefundOrder
from shops.sealed_secrets import SealedSecrets
from shops.store.orders import Order, require_order
from shops.store.shops import Shop, require_shop
from shops.workers import pay_pending_orders, take_openings_on
from tests.unit.shops.fake_gateway import GOOD_CODE, MASTER_ID, MASTER_SECRET, Application, FakeGateway

SEALING_KEY = b"s" * 32
RETRIES = Backoff(first_seconds=1.0, max_seconds=8.0)
REVIEWS = Backoff(first_seconds=2.0, max_seconds=16.0)
LONG_ENOUGH_SECONDS = 60.0


class FakeClock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Marketplace:
    def __init__(self, database: Database, gateway: GatewayClient) -> None:
        self.database = database
        self.gateway = gateway
        self.clock = FakeClock()
        self.secrets = SealedSecrets(SEALING_KEY)
        master = Credentials(MASTER_ID, MASTER_SECRET)
        self.opening = Opening(database, gateway, master, self.secrets, self.clock, Pauses(REVIEWS, RETRIES))
        self.pay_order = PayOrder(database, gateway, self.secrets, self.clock, RETRIES)
        self.refund_order = RefundOrder(database, gateway, self.secrets)
        self._numbers = itertools.count(1)

    def open_shop(self, name: str = "Kissa") -> str:
        shop_id = f"shp_{next(self._numbers)}"
        self.database.run_here(
            lambda connection: open_shop(
                connection,
                shop_id=shop_id,
                display_name=name,
                contact_email="owner@kissa.example",
                business_description="Coffee",
                now=round(self.clock.now * 1000),
            )
        )
        return shop_id

    async def open_active_shop(self, gateway: FakeGateway) -> str:
        shop_id = self.open_shop()
        await self.take_openings_on()
        gateway.decide(Application.APPROVED)
        self.clock.now += LONG_ENOUGH_SECONDS
        await self.take_openings_on()
        return shop_id

    def add_product(self, shop_id: str, price: Money) -> str:
        product_id = f"prd_{next(self._numbers)}"
        self.database.run_here(
            lambda connection: create_product(
                connection, product_id=product_id, shop_id=shop_id, display_name="Beans", price=price, now=0
            )
        )
        return product_id

    def place(self, shop_id: str, items: Sequence[tuple[str, int]], code: str = GOOD_CODE) -> str:
        order_id, now = f"ord_{next(self._numbers)}", round(self.clock.now * 1000)
        self.database.run_here(
            lambda connection: place_order(
                connection,
                order_id=order_id,
                shop_id=shop_id,
                items=items,
                sealed_payment_code=self.secrets.seal_payment_code(order_id, code),
                now=now,
                next_attempt_time=now,
            )
        )
        return order_id

    def place_one(self, shop_id: str, code: str = GOOD_CODE) -> str:
        return self.place(shop_id, [(self.add_product(shop_id, Money("JPY", 1200)), 1)], code)

    async def pay_first(self, order_id: str) -> Order:
        attempt = self.pay_order.start_first(order_id)
        assert attempt
        await attempt
        return self.order(order_id)

    async def take_openings_on(self) -> None:
        await take_openings_on(self.database, self.opening, self.clock)

    async def pay_pending_orders(self) -> None:
        await pay_pending_orders(self.database, self.pay_order, self.clock)

    def shop(self, shop_id: str) -> Shop:
        return self.database.read_here(lambda connection: require_shop(connection, shop_id))

    def order(self, order_id: str) -> Order:
        return self.database.read_here(lambda connection: require_order(connection, order_id))


@asynccontextmanager
async def marketplace_on(database_url: str, gateway: FakeGateway) -> AsyncIterator[Marketplace]:
    """Open the marketplace on a database that has its tables, as a process that starts would."""
    database = Database(database_url)
    try:
        async with open_channel(gateway.channel_config) as channel:
            marketplace = Marketplace(database, GatewayClient(channel, lambda: marketplace.clock.now))
            yield marketplace
            await marketplace.pay_order.stop()
    finally:
        database.close()


@asynccontextmanager
async def running_gateway(folder: Path) -> AsyncIterator[FakeGateway]:
    """Start a payment company that answers."""
    gateway = FakeGateway(folder)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()
