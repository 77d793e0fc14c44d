"""Puts the service together."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from mesh.access.descriptors import own_contracts, read_methods
from mesh.background import forever, working
from mesh.channels.channel import open_channel
from mesh.channels.renewed_channel import renewed_channel
from mesh.security.secret_files import read_key
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server, Service
from mesh.storage.database import Database
from mesh.storage.schema import require_current
from mesh.telemetry.metrics import Metrics
from mesh.telemetry.tracing.tracing import tracing
from shops.backoff import Backoff
from shops.config import ShopsConfig
from shops.credentials import read_credentials
from shops.gateway_client import GatewayClient
from shops.opening import Opening, Pauses
from shops.pay_order import PayOrder
from shops.refund_order import RefundOrder
from shops.sealed_secrets import SealedSecrets
from shops.servicers.catalog import CatalogServiceServicer
from shops.servicers.orders import OrderServiceServicer
from shops.servicers.shops import ShopServiceServicer
from shops.visibility import Visibility
from shops.workers import pay_pending_orders, take_openings_on

_RETRIES = Backoff(first_seconds=0.5, max_seconds=30.0)
_PENDING_ORDERS_LOOK_SECONDS = 1.0


@asynccontextmanager
async def running(config: ShopsConfig) -> AsyncIterator[Server]:
    """Run the service: on entering it answers calls, on leaving it ends them and its background work.

    Raises:
        ConfigError: If it can't start as configured.

    """
    master = read_credentials(config.master_credentials)
    token_key = read_key(config.token_key)
    secrets = SealedSecrets(read_key(config.sealing_key))
    visibility = Visibility(token_key)
    async with AsyncExitStack() as stack:
        traces = await stack.enter_async_context(tracing(config.tracing, "shops"))
        database = Database(config.database, traces.around_units())
        stack.callback(database.close)
        await database.read(partial(require_current, service="shops"))
        channel = await stack.enter_async_context(
            renewed_channel(config.gateway, partial(open_channel, config.gateway))
        )
        gateway = GatewayClient(traces.channel(channel), time.monotonic)

        reviews = Backoff(config.review_poll_seconds, config.review_poll_max_seconds)
        opening = Opening(database, gateway, master, secrets, time.time, Pauses(reviews, _RETRIES))
        wake_opening = asyncio.Event()
        pay_order = PayOrder(database, gateway, secrets, time.time, _RETRIES)
        stack.push_async_callback(pay_order.stop)
        refund_order = RefundOrder(database, gateway, secrets)

        shops = ShopServiceServicer(database, visibility, token_key, time.time, wake_opening.set)
        catalog = CatalogServiceServicer(database, visibility, time.time)
        orders = OrderServiceServicer(database, visibility, token_key, secrets, pay_order, refund_order, time.time)
        services = [
            Service.of(shops),
            Service.of(catalog),
            Service.of(orders),
        ]
        contracts = own_contracts()
        metrics = Metrics(config.metrics_listen, read_methods(contracts))
        server = Server(
            config.server,
            services,
            traces.interceptors(trusting=False),
            reflection=ReflectionHandler(dict.fromkeys((service.name for service in services), contracts)),
            observers=[*metrics.observers, *traces.observers()],
        )
        await stack.enter_async_context(metrics.served())
        openings = partial(take_openings_on, database, opening, time.time)
        payments = partial(pay_pending_orders, database, pay_order, time.time)
        for work in (
            forever(openings, config.review_poll_seconds, wake_opening),
            forever(payments, _PENDING_ORDERS_LOOK_SECONDS, asyncio.Event()),
        ):
            await stack.enter_async_context(working(work))
        await server.start()
        stack.push_async_callback(server.stop)
        yield server
