"""The shops service over TLS, with a payment company played by `FakeGateway`."""

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import msgspec
import pytest
import yaml
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.config import ConfigError, ServerConfig
from mesh.security.secret_files import create_key, write_private
from mesh.storage.database import Database
from mesh.storage.migrations import upgrade
from sekisho.payments.v1.money_pb2 import Money
from sekisho.shops.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    order_service_pb2,
    order_service_pb2_grpc,
    shop_service_pb2,
    shop_service_pb2_grpc,
)
from shops.config import ShopsConfig
from shops.server import running
from tests.loop_thread import LoopThread, loop_thread
from tests.unit.shops.fake_gateway import (
    GOOD_CODE,
    MASTER_ID,
    MASTER_SECRET,
    UNAVAILABLE,
    Application,
    FakeGateway,
    Refusal,
    issue_certificates,
)

T = TypeVar("T")
Shop = shop_service_pb2.Shop
Order = order_service_pb2.Order
CreateChannel = Callable[..., grpc.Channel]

PATIENCE_SECONDS = 60.0
YEN_500 = Money(currency_code="JPY", minor_units=500)


@contextmanager
def serving(loop: LoopThread, config: ShopsConfig) -> Iterator[int]:
    """Run the service; its port comes out."""
    with loop.entered(running(config)) as server:
        yield server.port


def prepare(folder: Path, gateway: FakeGateway) -> ShopsConfig:
    create_key(folder / "sealing-key")
    create_key(folder / "token-key")
    credentials = {"client_id": MASTER_ID, "client_secret": MASTER_SECRET}
    write_private(folder / "master.json", msgspec.json.encode(credentials))
    database = Database(f"sqlite:///{folder}/shops.db")
    database.run_here(lambda connection: upgrade(connection, "shops"))
    database.close()
    certificate, key = gateway.folder / "shops.pem", gateway.folder / "shops-key.pem"
    return ShopsConfig(
        server=ServerConfig(listen="127.0.0.1:0", certificate=certificate, private_key=key, drain_seconds=1.0),
        database=f"sqlite:///{folder}/shops.db",
        gateway=gateway.channel_config,
        master_credentials=folder / "master.json",
        sealing_key=folder / "sealing-key",
        token_key=folder / "token-key",
        review_poll_seconds=0.02,
        review_poll_max_seconds=0.1,
    )


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    with loop_thread() as loop:
        yield loop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shops")
    issue_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def gateway(loop: LoopThread, folder: Path) -> Iterator[FakeGateway]:
    gateway = FakeGateway(folder)
    loop.run(gateway.start())
    yield gateway
    loop.run(gateway.stop())


@pytest.fixture(scope="module")
def grpc_server(loop: LoopThread, folder: Path, gateway: FakeGateway) -> Iterator[int]:
    with serving(loop, prepare(folder, gateway)) as port:
        yield port


@pytest.fixture(scope="module")
def grpc_addr(grpc_server: int) -> str:
    return f"127.0.0.1:{grpc_server}"


@pytest.fixture(scope="module")
def grpc_channel(grpc_create_channel: CreateChannel, folder: Path) -> Iterator[grpc.Channel]:
    with grpc_create_channel(trusting(folder)) as channel:
        yield channel


@pytest.fixture(scope="module")
def shops(grpc_channel: grpc.Channel) -> shop_service_pb2_grpc.ShopServiceStub:
    return shop_service_pb2_grpc.ShopServiceStub(grpc_channel)


@pytest.fixture(scope="module")
def catalog(grpc_channel: grpc.Channel) -> catalog_service_pb2_grpc.CatalogServiceStub:
    return catalog_service_pb2_grpc.CatalogServiceStub(grpc_channel)


@pytest.fixture(scope="module")
def orders(grpc_channel: grpc.Channel) -> order_service_pb2_grpc.OrderServiceStub:
    return order_service_pb2_grpc.OrderServiceStub(grpc_channel)


@pytest.fixture(scope="module")
def active_shop(
    shops: shop_service_pb2_grpc.ShopServiceStub, gateway: FakeGateway
) -> shop_service_pb2.OpenShopResponse:
    return open_active_shop(shops, gateway)


@pytest.fixture(scope="module")
def product(
    catalog: catalog_service_pb2_grpc.CatalogServiceStub, active_shop: shop_service_pb2.OpenShopResponse
) -> catalog_service_pb2.Product:
    request = create_product_request(active_shop.shop.shop_id)
    answer: catalog_service_pb2.Product = catalog.CreateProduct(request, metadata=bearer(active_shop.owner_token))
    return answer


def trusting(folder: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials((folder / "public-ca.pem").read_bytes())


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def open_shop_request(**changes: str) -> shop_service_pb2.OpenShopRequest:
    values = {
        "request_id": str(uuid.uuid4()),
        "display_name": "Kissa",
        "contact_email": "owner@kissa.example",
        "business_description": "Coffee",
    }
    return shop_service_pb2.OpenShopRequest(**{**values, **changes})


def create_product_request(shop_id: str, price: Money = YEN_500) -> catalog_service_pb2.CreateProductRequest:
    return catalog_service_pb2.CreateProductRequest(
        request_id=str(uuid.uuid4()), shop_id=shop_id, display_name="Beans", price=price
    )


def place_order_request(
    product: catalog_service_pb2.Product, quantity: int = 2, code: str = GOOD_CODE
) -> order_service_pb2.PlaceOrderRequest:
    return order_service_pb2.PlaceOrderRequest(
        request_id=str(uuid.uuid4()),
        shop_id=product.shop_id,
        items=[order_service_pb2.OrderItem(product_id=product.product_id, quantity=quantity)],
        payment_code=code,
    )


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not met():
        assert time.monotonic() < deadline


def state_of(shops: shop_service_pb2_grpc.ShopServiceStub, opened: shop_service_pb2.OpenShopResponse) -> str:
    request = shop_service_pb2.GetShopRequest(shop_id=opened.shop.shop_id)
    shop: Shop = shops.GetShop(request, metadata=bearer(opened.owner_token))
    return Shop.State.Name(shop.state)


def open_active_shop(
    shops: shop_service_pb2_grpc.ShopServiceStub, gateway: FakeGateway
) -> shop_service_pb2.OpenShopResponse:
    opened: shop_service_pb2.OpenShopResponse = shops.OpenShop(open_shop_request())
    assert opened.shop.state == Shop.APPLYING
    until(lambda: state_of(shops, opened) == "IN_REVIEW")
    gateway.decide(Application.APPROVED)
    until(lambda: state_of(shops, opened) == "ACTIVE")
    return opened


@contextmanager
def refused(code: grpc.StatusCode, reason: str, *fields: str) -> Iterator[None]:
    """Expect a refusal: its status, its `ErrorInfo` reason, and the fields that are wrong."""
    with pytest.raises(grpc.RpcError) as raised:
        yield
    call: Any = raised.value
    trailers = dict(call.trailing_metadata())
    info, bad = ErrorInfo(), BadRequest()
    for detail in Status.FromString(trailers["grpc-status-details-bin"]).details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert (call.code(), info.reason, info.domain) == (code, reason, "sekisho")
    assert [violation.field for violation in bad.field_violations] == list(fields)


INVALID = grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"
NO_SHOP = grpc.StatusCode.NOT_FOUND, "SHOP_NOT_FOUND"
NO_ORDER = grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"
NO_OWNER = grpc.StatusCode.UNAUTHENTICATED, "INVALID_OWNER_TOKEN"
REUSED = grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"


# -- ShopService


def test_the_same_request_opens_one_shop_and_gets_the_same_owner_token(
    shops: shop_service_pb2_grpc.ShopServiceStub,
) -> None:
    request = open_shop_request()
    first, second = shops.OpenShop(request), shops.OpenShop(request)
    assert first.owner_token.startswith("sot_")
    assert (second.shop.shop_id, second.owner_token) == (first.shop.shop_id, first.owner_token)
    request.display_name = "Another"
    with refused(*REUSED):
        shops.OpenShop(request)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", "guessable-1"),
        ("display_name", " "),
        ("display_name", "x" * 201),
        ("contact_email", "nobody"),
        ("business_description", "x" * 501),
    ],
)
def test_a_shop_with_a_bad_field_is_refused(
    shops: shop_service_pb2_grpc.ShopServiceStub, field: str, value: str
) -> None:
    with refused(*INVALID, field):
        shops.OpenShop(open_shop_request(**{field: value}))


def test_a_shop_is_its_owners_until_it_is_active_and_then_everybodys(
    shops: shop_service_pb2_grpc.ShopServiceStub,
    catalog: catalog_service_pb2_grpc.CatalogServiceStub,
    active_shop: shop_service_pb2.OpenShopResponse,
) -> None:
    opened = shops.OpenShop(open_shop_request())
    get = shop_service_pb2.GetShopRequest(shop_id=opened.shop.shop_id)
    products = catalog_service_pb2.ListProductsRequest(shop_id=opened.shop.shop_id)
    assert shops.GetShop(get, metadata=bearer(opened.owner_token)).shop_id == opened.shop.shop_id
    for metadata in ((), bearer(active_shop.owner_token), bearer(opened.owner_token + "="), bearer("x") * 2):
        with refused(*NO_SHOP):
            shops.GetShop(get, metadata=metadata)
    with refused(*NO_SHOP):
        catalog.ListProducts(products)
    with refused(*NO_SHOP):
        shops.GetShop(shop_service_pb2.GetShopRequest(shop_id="shp_none"))

    assert shops.GetShop(shop_service_pb2.GetShopRequest(shop_id=active_shop.shop.shop_id)).state == Shop.ACTIVE
    listed = {shop.shop_id for shop in shops.ListShops(shop_service_pb2.ListShopsRequest()).shops}
    assert active_shop.shop.shop_id in listed
    assert opened.shop.shop_id not in listed


def test_a_rejected_shop_tells_its_owner_why(
    shops: shop_service_pb2_grpc.ShopServiceStub, gateway: FakeGateway
) -> None:
    opened = shops.OpenShop(open_shop_request())
    until(lambda: state_of(shops, opened) == "IN_REVIEW")
    application = gateway.applications[opened.shop.shop_id]
    application.rejection_reason = "too much coffee"
    application.state = Application.REJECTED
    until(lambda: state_of(shops, opened) == "REJECTED")
    request = shop_service_pb2.GetShopRequest(shop_id=opened.shop.shop_id)
    shop = shops.GetShop(request, metadata=bearer(opened.owner_token))
    assert shop.rejection_reason == "too much coffee"


def test_shops_are_listed_in_pages(
    shops: shop_service_pb2_grpc.ShopServiceStub,
    gateway: FakeGateway,
    active_shop: shop_service_pb2.OpenShopResponse,
) -> None:
    newer = open_active_shop(shops, gateway)
    first = shops.ListShops(shop_service_pb2.ListShopsRequest(page_size=1))
    assert [shop.shop_id for shop in first.shops] == [newer.shop.shop_id]
    rest = shops.ListShops(shop_service_pb2.ListShopsRequest(page_token=first.next_page_token))
    assert active_shop.shop.shop_id in [shop.shop_id for shop in rest.shops]
    assert newer.shop.shop_id not in [shop.shop_id for shop in rest.shops]
    with refused(*INVALID, "page_size"):
        shops.ListShops(shop_service_pb2.ListShopsRequest(page_size=-1))


# -- CatalogService


def test_the_same_request_adds_one_product(
    catalog: catalog_service_pb2_grpc.CatalogServiceStub, active_shop: shop_service_pb2.OpenShopResponse
) -> None:
    request, metadata = create_product_request(active_shop.shop.shop_id), bearer(active_shop.owner_token)
    first = catalog.CreateProduct(request, metadata=metadata)
    assert catalog.CreateProduct(request, metadata=metadata) == first
    listed = catalog.ListProducts(catalog_service_pb2.ListProductsRequest(shop_id=active_shop.shop.shop_id)).products
    assert [product.product_id for product in listed].count(first.product_id) == 1
    request.price.minor_units = 1
    with refused(*REUSED):
        catalog.CreateProduct(request, metadata=metadata)


def test_only_the_owner_adds_products_and_learns_what_is_wrong_with_them(
    shops: shop_service_pb2_grpc.ShopServiceStub,
    catalog: catalog_service_pb2_grpc.CatalogServiceStub,
    active_shop: shop_service_pb2.OpenShopResponse,
) -> None:
    other = shops.OpenShop(open_shop_request())
    bad = create_product_request(active_shop.shop.shop_id, Money(currency_code="yen", minor_units=0))
    for metadata in ((), bearer(other.owner_token), bearer("sot_")):
        with refused(*NO_OWNER):
            catalog.CreateProduct(bad, metadata=metadata)
    with refused(*NO_OWNER):
        catalog.CreateProduct(create_product_request("shp_none"), metadata=bearer(other.owner_token))
    with refused(*INVALID, "price.currency_code", "price.minor_units"):
        catalog.CreateProduct(bad, metadata=bearer(active_shop.owner_token))


# -- OrderService


def test_an_order_is_paid_read_and_refunded(
    orders: order_service_pb2_grpc.OrderServiceStub,
    active_shop: shop_service_pb2.OpenShopResponse,
    product: catalog_service_pb2.Product,
    gateway: FakeGateway,
) -> None:
    request = place_order_request(product)
    placed = orders.PlaceOrder(request, metadata=(("x-request-id", "the-buyer-s-call"),))
    assert placed.order.state == Order.PAID
    assert placed.order.total.minor_units == 1000
    assert placed.order.payment_id == gateway.payments[placed.order.order_id].payment_id
    assert ("CreatePayment", "the-buyer-s-call") in {(call.method, call.request_id) for call in gateway.calls}
    assert orders.PlaceOrder(request) == placed

    get = order_service_pb2.GetOrderRequest(order_id=placed.order.order_id)
    refund = order_service_pb2.RefundOrderRequest(order_id=placed.order.order_id)
    owner, buyer = bearer(active_shop.owner_token), bearer(placed.order_token)
    assert orders.GetOrder(get, metadata=owner) == orders.GetOrder(get, metadata=buyer) == placed.order
    with refused(grpc.StatusCode.PERMISSION_DENIED, "OWNER_TOKEN_REQUIRED"):
        orders.RefundOrder(refund, metadata=buyer)
    assert orders.RefundOrder(refund, metadata=owner).state == Order.REFUNDED
    assert orders.RefundOrder(refund, metadata=owner).state == Order.REFUNDED
    assert orders.PlaceOrder(request).order.state == Order.REFUNDED  # as it stands


def test_orders_of_others_do_not_exist(
    shops: shop_service_pb2_grpc.ShopServiceStub,
    orders: order_service_pb2_grpc.OrderServiceStub,
    product: catalog_service_pb2.Product,
) -> None:
    mine, other = (orders.PlaceOrder(place_order_request(product)) for _ in range(2))
    other_owner = shops.OpenShop(open_shop_request()).owner_token
    for metadata in ((), bearer(other.order_token), bearer(other_owner)):
        with refused(*NO_ORDER):
            orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=mine.order.order_id), metadata=metadata)
        with refused(*NO_ORDER):
            orders.RefundOrder(order_service_pb2.RefundOrderRequest(order_id=mine.order.order_id), metadata=metadata)
    with refused(*NO_ORDER):
        orders.GetOrder(order_service_pb2.GetOrderRequest(order_id="ord_none"), metadata=bearer(mine.order_token))


def test_a_declined_order_says_why_and_is_not_refunded(
    orders: order_service_pb2_grpc.OrderServiceStub,
    active_shop: shop_service_pb2.OpenShopResponse,
    product: catalog_service_pb2.Product,
) -> None:
    placed = orders.PlaceOrder(place_order_request(product, code="pmc_unknown"))
    assert placed.order.state == Order.PAYMENT_DECLINED
    assert placed.order.decline_reason == "PAYMENT_CODE_NOT_FOUND"
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_STATE_CONFLICT"):
        orders.RefundOrder(
            order_service_pb2.RefundOrderRequest(order_id=placed.order.order_id),
            metadata=bearer(active_shop.owner_token),
        )


def test_an_order_whose_payment_is_not_decided_is_paid_later_exactly_once(
    orders: order_service_pb2_grpc.OrderServiceStub, product: catalog_service_pb2.Product, gateway: FakeGateway
) -> None:
    lost = Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, after_effect=True)
    gateway.next_refusals["CreatePayment"].append(lost)
    placed = orders.PlaceOrder(place_order_request(product))
    assert placed.order.state == Order.PAYMENT_PENDING
    get = order_service_pb2.GetOrderRequest(order_id=placed.order.order_id)
    until(lambda: orders.GetOrder(get, metadata=bearer(placed.order_token)).state == Order.PAID)
    assert list(gateway.payments).count(placed.order.order_id) == 1


def test_a_caller_in_a_hurry_gets_the_pending_order_and_the_payment_goes_on(
    orders: order_service_pb2_grpc.OrderServiceStub,
    product: catalog_service_pb2.Product,
    gateway: FakeGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shops.servicers.orders._ANSWER_BEFORE_DEADLINE_SECONDS", 5.0)  # enough on a busy machine
    release = gateway.hold_payments()
    placed = orders.PlaceOrder(place_order_request(product), timeout=5.5)
    assert placed.order.state == Order.PAYMENT_PENDING
    release()
    get = order_service_pb2.GetOrderRequest(order_id=placed.order.order_id)
    until(lambda: orders.GetOrder(get, metadata=bearer(placed.order_token)).state == Order.PAID)
    assert sum(call.method == "CreatePayment" and call.order_id == placed.order.order_id for call in gateway.calls) == 1


def test_a_refund_while_payments_are_away_leaves_the_order_paid(
    orders: order_service_pb2_grpc.OrderServiceStub,
    active_shop: shop_service_pb2.OpenShopResponse,
    product: catalog_service_pb2.Product,
    gateway: FakeGateway,
) -> None:
    placed = orders.PlaceOrder(place_order_request(product))
    refund = order_service_pb2.RefundOrderRequest(order_id=placed.order.order_id)
    gateway.next_refusals["RefundPayment"].append(UNAVAILABLE)
    with refused(grpc.StatusCode.UNAVAILABLE, "PAYMENTS_UNAVAILABLE"):
        orders.RefundOrder(refund, metadata=bearer(active_shop.owner_token))
    assert orders.RefundOrder(refund, metadata=bearer(active_shop.owner_token)).state == Order.REFUNDED


@pytest.mark.parametrize(
    ("quantities", "fields"),
    [
        ([], ["items"]),
        ([1] * 101, ["items"]),
        ([0, 1, 1001, -1], ["items[0].quantity", "items[2].quantity", "items[3].quantity"]),
    ],
)
def test_an_order_with_bad_items_is_refused(
    orders: order_service_pb2_grpc.OrderServiceStub,
    product: catalog_service_pb2.Product,
    quantities: list[int],
    fields: list[str],
) -> None:
    request = place_order_request(product)
    del request.items[:]
    for quantity in quantities:
        request.items.add(product_id=product.product_id, quantity=quantity)
    with refused(*INVALID, *fields):
        orders.PlaceOrder(request)


def test_an_order_that_can_not_be_is_refused(
    shops: shop_service_pb2_grpc.ShopServiceStub,
    catalog: catalog_service_pb2_grpc.CatalogServiceStub,
    orders: order_service_pb2_grpc.OrderServiceStub,
    active_shop: shop_service_pb2.OpenShopResponse,
    product: catalog_service_pb2.Product,
) -> None:
    request = place_order_request(product)
    request.shop_id = "shp_none"
    with refused(*NO_SHOP):
        orders.PlaceOrder(request)
    request.shop_id = shops.OpenShop(open_shop_request()).shop.shop_id  # not active
    with refused(*NO_SHOP):
        orders.PlaceOrder(request)

    request = place_order_request(product)
    request.items.add(product_id="prd_none", quantity=1)
    with refused(grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND"):
        orders.PlaceOrder(request)

    metadata = bearer(active_shop.owner_token)
    dollars = create_product_request(product.shop_id, Money(currency_code="USD", minor_units=1))
    dear = create_product_request(product.shop_id, Money(currency_code="JPY", minor_units=1_000_000_000_000))
    for another in (dollars, dear):
        request = place_order_request(product)
        added = catalog.CreateProduct(another, metadata=metadata)
        request.items.add(product_id=added.product_id, quantity=1000)
        with refused(*INVALID, "items"):
            orders.PlaceOrder(request)


def test_an_order_without_a_payment_code_or_a_random_request_id_is_refused(
    orders: order_service_pb2_grpc.OrderServiceStub, product: catalog_service_pb2.Product
) -> None:
    request = place_order_request(product, code="")
    request.request_id = "order-number-1"
    with refused(*INVALID, "request_id", "payment_code"):
        orders.PlaceOrder(request)


def test_an_order_with_another_body_is_refused(
    orders: order_service_pb2_grpc.OrderServiceStub, product: catalog_service_pb2.Product
) -> None:
    request = place_order_request(product)
    orders.PlaceOrder(request)
    request.payment_code = "pmc_another"
    with refused(*REUSED):
        orders.PlaceOrder(request)


# -- the process


def test_health_is_served(grpc_channel: grpc.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(grpc_channel)
    for name in ("", "sekisho.shops.v1.ShopService", "sekisho.shops.v1.OrderService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_service_starts_while_the_gateway_is_down_and_a_restart_loses_nothing(
    loop: LoopThread, folder: Path, tmp_path: Path
) -> None:
    gateway = FakeGateway(folder)
    loop.run(gateway.start())  # to get a port
    loop.run(gateway.stop())
    config = prepare(tmp_path, gateway)
    with serving(loop, config) as port, grpc.secure_channel(f"127.0.0.1:{port}", trusting(folder)) as channel:
        opened = shop_service_pb2_grpc.ShopServiceStub(channel).OpenShop(open_shop_request())
        assert state_of(shop_service_pb2_grpc.ShopServiceStub(channel), opened) == "APPLYING"
    loop.run(gateway.start())
    with serving(loop, config) as port, grpc.secure_channel(f"127.0.0.1:{port}", trusting(folder)) as channel:
        shops = shop_service_pb2_grpc.ShopServiceStub(channel)
        until(lambda: state_of(shops, opened) == "IN_REVIEW")
        gateway.decide(Application.APPROVED)
        until(lambda: state_of(shops, opened) == "ACTIVE")
    loop.run(gateway.stop())


def test_a_gateway_with_a_certificate_by_a_new_ca_is_trusted_without_a_restart(
    loop: LoopThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.channels.renewed_channel._LOOK_SECONDS", 0.05)
    issue_certificates(tmp_path)
    gateway = FakeGateway(tmp_path)
    loop.run(gateway.start())
    with (
        serving(loop, prepare(tmp_path, gateway)) as port,
        grpc.secure_channel(f"127.0.0.1:{port}", trusting(tmp_path)) as channel,
    ):
        shops = shop_service_pb2_grpc.ShopServiceStub(channel)
        before = shops.OpenShop(open_shop_request())
        until(lambda: state_of(shops, before) == "IN_REVIEW")
        loop.run(gateway.stop())
        (tmp_path / "public-ca.pem").unlink()
        issue_certificates(tmp_path)
        loop.run(gateway.start())
        after = shops.OpenShop(open_shop_request())
        until(lambda: state_of(shops, after) == "IN_REVIEW")
    loop.run(gateway.stop())


def test_a_new_shop_is_applied_for_at_once_however_seldom_the_worker_looks(
    loop: LoopThread, folder: Path, gateway: FakeGateway, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(prepare(tmp_path, gateway), review_poll_seconds=10 * PATIENCE_SECONDS)
    with serving(loop, config) as port, grpc.secure_channel(f"127.0.0.1:{port}", trusting(folder)) as channel:
        shops = shop_service_pb2_grpc.ShopServiceStub(channel)
        shops.ListShops(shop_service_pb2.ListShopsRequest())  # the worker has looked once by now
        opened = shops.OpenShop(open_shop_request())
        until(lambda: state_of(shops, opened) == "IN_REVIEW")


def test_a_database_without_the_schema_is_refused(loop: LoopThread, gateway: FakeGateway, tmp_path: Path) -> None:
    config = msgspec.structs.replace(prepare(tmp_path, gateway), database=f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(ConfigError, match="sekisho migrate"), serving(loop, config):
        pass


def test_the_process_starts_and_ends_on_sigterm(gateway: FakeGateway, tmp_path: Path) -> None:
    config = msgspec.to_builtins(prepare(tmp_path, gateway), enc_hook=str)
    (tmp_path / "shops.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "shops", "--config", str(tmp_path / "shops.yaml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "started" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(PATIENCE_SECONDS) == 0
    assert "stopped" in rest
    assert "Traceback" not in rest


def test_the_marketplace_knows_nothing_of_private_tokens_and_of_the_payment_companys_code() -> None:
    program = "import sys, shops.__main__, shops.server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    forbidden = {
        "mesh.security.private_tokens",
        "mesh.interceptors.private_token",
        "mesh.security.signed_jwt",
        "mesh.security.published_keys",
        "jwt",
        "gateway",
        "authserver",
        "payments",
    }
    assert forbidden.isdisjoint(loaded)
