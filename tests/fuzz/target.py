"""A shop that works, for the calls that are to come as far as its data."""

import resource
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st

from cli.home import SERVICES
from mesh.access.rules import ClientType
from sekisho.payments.v1 import partner_review_service_pb2 as review_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from sekisho.shops.v1 import catalog_service_pb2 as catalog_pb
from sekisho.shops.v1 import catalog_service_pb2_grpc as catalog_grpc
from sekisho.shops.v1 import order_service_pb2 as order_pb
from sekisho.shops.v1 import order_service_pb2_grpc as order_grpc
from sekisho.shops.v1 import shop_service_pb2 as shop_pb
from sekisho.shops.v1 import shop_service_pb2_grpc as shop_grpc
from tests.fuzz.messages import Genuine
from tests.mesh import Mesh, jpy

T = TypeVar("T")

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """What is shot at.

    Attributes:
        mesh: The services.
        tokens: A token of each client type; under None, one that the marketplace takes.
        genuine: What may stand in fields of a name.
        secrets: What no log may show.
        sizes: The resident bytes of each process, by its id, before the first shot.
        logged: How many bytes each service had logged before.

    """

    mesh: Mesh
    tokens: Mapping[ClientType | None, str]
    genuine: Genuine
    secrets: tuple[str, ...]
    sizes: Mapping[int, int]
    logged: Mapping[str, int]

    def __repr__(self) -> str:
        return "target"  # all that it knows would bury what failed


def prepare(mesh: Mesh) -> Target:
    """Prepare a partner with a payment, and a shop with a product and an order."""
    logged = {service: len(mesh.home.log(service).read_bytes()) for service in SERVICES}
    known = {**_partner(mesh), **_shop(mesh)}  # so each service has something to log, in whichever worker it runs
    tokens = {
        ClientType.MASTER: mesh.token("master"),
        ClientType.PARTNER: mesh.token_of(known["client_id"], known["client_secret"]),
        ClientType.WALLET: mesh.token("wallet"),
        ClientType.OPERATOR: mesh.token("operator"),
        None: known["owner_token"],
    }
    known["token"] = mesh.token_of(known["client_id"], known["client_secret"])
    names = ("client_secret", "software_statement", "payment_code", "order_token", "token")
    genuine = {name: st.just(value) for name, value in known.items()}
    genuine |= {"request_id": st.uuids(version=4).map(str), "scope": st.sampled_from(["", "payments.read"])}
    return Target(
        mesh=mesh,
        tokens=tokens,
        genuine=genuine,
        secrets=(*tokens.values(), *(known[name] for name in names)),
        sizes=sizes(mesh),
        logged=logged,
    )


def sizes(mesh: Mesh) -> dict[int, int]:
    """Return the resident bytes of each service's process, by its id."""
    children = Path(f"/proc/{mesh.pid}/task/{mesh.pid}/children").read_text().split()
    pages = {int(pid): int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in children}
    return {pid: count * resource.getpagesize() for pid, count in pages.items()}


def _partner(mesh: Mesh) -> dict[str, str]:
    tenant, wallet_id = mesh.tenant(), mesh.wallet(1_000_000)
    request = payment_pb.CreatePaymentRequest(
        request_id=str(uuid.uuid4()), payment_code=mesh.payment_code(wallet_id, 1000), amount=jpy(700)
    )
    payment = mesh.call(mesh.payments.CreatePayment, request, mesh.token_of(tenant.client_id, tenant.client_secret))
    return {
        "client_id": tenant.client_id,
        "client_secret": tenant.client_secret,
        "client_name": "A Shop",
        "grant_type": "client_credentials",
        "grant_types": "client_credentials",
        "software_statement": tenant.software_statement,
        "application_id": mesh.approved_application(mesh.token("master")).application_id,
        "partner_id": tenant.partner_id,
        "payment_id": payment.payment_id,
        "wallet_id": wallet_id,
        "payment_code": mesh.payment_code(wallet_id, 1_000_000),
        "currency_code": "JPY",
        "contact_email": "shop@example.com",
    }


def _shop(mesh: Mesh) -> dict[str, str]:
    shops, orders = shop_grpc.ShopServiceStub(mesh.shops), order_grpc.OrderServiceStub(mesh.shops)
    name = f"Tea {uuid.uuid4()}"
    opening = shop_pb.OpenShopRequest(
        request_id=str(uuid.uuid4()), display_name=name, contact_email="tea@example.com", business_description="Tea"
    )
    opened = mesh.call(shops.OpenShop, opening)
    shop_id, owner = opened.shop.shop_id, opened.owner_token
    _approve(mesh, name)
    getting = shop_pb.GetShopRequest(shop_id=shop_id)
    _until(lambda: mesh.call(shops.GetShop, getting, owner).state == shop_pb.Shop.ACTIVE)
    adding = catalog_pb.CreateProductRequest(
        request_id=str(uuid.uuid4()), shop_id=shop_id, display_name="Sencha", price=jpy(500)
    )
    product = mesh.call(catalog_grpc.CatalogServiceStub(mesh.shops).CreateProduct, adding, owner)
    item = order_pb.OrderItem(product_id=product.product_id, quantity=1)
    code = mesh.payment_code(mesh.wallet(1000), 1000)
    placing = order_pb.PlaceOrderRequest(request_id=str(uuid.uuid4()), shop_id=shop_id, items=[item], payment_code=code)
    placed = mesh.call(orders.PlaceOrder, placing)
    return {
        "shop_id": shop_id,
        "owner_token": owner,
        "display_name": "Sencha",
        "product_id": product.product_id,
        "order_id": placed.order.order_id,
        "order_token": placed.order_token,
    }


def _approve(mesh: Mesh, merchant: str) -> None:
    operator = mesh.token("operator")

    def pending() -> list[str]:
        found, page_token = list[str](), ""
        while True:
            request = review_pb.ListPendingPartnerApplicationsRequest(page_token=page_token)
            page = mesh.call(mesh.reviews.ListPendingPartnerApplications, request, operator)
            found += [each.application_id for each in page.applications if each.merchant_name == merchant]
            page_token = page.next_page_token
            if not page_token:
                return found

    request = review_pb.ApprovePartnerApplicationRequest(application_id=_until(pending)[0])
    mesh.call(mesh.reviews.ApprovePartnerApplication, request, operator)


def _until(condition: Callable[[], T]) -> T:
    """Return what a condition gives as soon as it gives anything."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
    raise AssertionError("waited in vain")
