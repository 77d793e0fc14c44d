"""Whatever process dies, at whatever point: the shop opens once, and each request has its one true outcome."""

import contextlib
import uuid
from collections.abc import Iterator

import grpc
import pytest
from sqlalchemy import create_engine, text

from cli.home import SERVICES
from sekisho.payments.v1 import partner_review_service_pb2 as review_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from sekisho.shops.v1 import shop_service_pb2 as shop_pb
from sekisho.shops.v1 import shop_service_pb2_grpc as shop_grpc
from tests.mesh import OK, Mesh, jpy
from tests.services import Services
from tests.waiting import until

# All tests share one mesh, of which each has one process die; the others stay, and remember what was before.
pytestmark = [pytest.mark.xdist_group("crashes"), pytest.mark.timeout(180)]

SUBMIT = "/sekisho.payments.v1.PartnerApplicationService/SubmitPartnerApplication"
REGISTER = "/sekisho.auth.v1.ClientRegistrationService/RegisterClient"
OPENING_POINTS = [
    "shops.APPLYING.call",
    f"gateway.{SUBMIT}.forward",
    "payments.SubmitPartnerApplicationRequest.commit",
    "payments.SubmitPartnerApplicationRequest.answer",
    "shops.APPLYING.record",
    "shops.IN_REVIEW.record",
    "shops.REGISTERING.call",
    f"gateway.{REGISTER}.forward",
    "authserver.RegisterClient.commit",
    "authserver.RegisterClient.answer",
    "shops.REGISTERING.record",
]
ROWS_OF_SHOPS = {
    "authserver": ["clients WHERE client_type = 'PARTNER'"],
    "payments": ["partners", "partner_applications"],
    "shops": ["shops"],
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with Services(tmp_path_factory.mktemp("crashes") / "home") as services:
        services.start(*SERVICES)
        yield services


def count(mesh: Mesh, service: str, rows: str) -> int:
    engine = create_engine(mesh.home.database(service))
    with engine.connect() as connection:
        found = int(connection.execute(text(f"SELECT count(*) FROM {rows}")).scalar_one())  # noqa: S608 - constants
    engine.dispose()
    return found


def shops_everywhere(mesh: Mesh) -> list[int]:
    """Return how many shops there are, by the rows of all services that each has one of."""
    return [count(mesh, service, rows) for service, tables in ROWS_OF_SHOPS.items() for rows in tables]


def approve_all(mesh: Mesh) -> bool:
    """Approve every application; return whether the operator got through."""
    try:
        operator = mesh.token("operator")
        pending = mesh.call(
            mesh.reviews.ListPendingPartnerApplications, review_pb.ListPendingPartnerApplicationsRequest(), operator
        )
        for application in pending.applications:
            request = review_pb.ApprovePartnerApplicationRequest(application_id=application.application_id)
            mesh.call(mesh.reviews.ApprovePartnerApplication, request, operator)
    except grpc.RpcError:
        return False
    return True


def new_shop() -> shop_pb.OpenShopRequest:
    return shop_pb.OpenShopRequest(
        request_id=str(uuid.uuid4()),
        display_name="Tea House",
        contact_email="tea@example.com",
        business_description="Green tea",
    )


def assert_opens_once(mesh: Mesh, opening: shop_pb.OpenShopRequest, before: list[int]) -> None:
    """Assert that the request, sent again, opens one shop, whether its answer had come or not."""
    shops = shop_grpc.ShopServiceStub(mesh.shops)
    until(lambda: mesh.attempt(shops.OpenShop, opening) == OK)  # the services have found each other again
    opened = mesh.call(shops.OpenShop, opening)

    def active() -> bool:
        approve_all(mesh)
        request = shop_pb.GetShopRequest(shop_id=opened.shop.shop_id)
        return bool(mesh.call(shops.GetShop, request, opened.owner_token).state == shop_pb.Shop.ACTIVE)

    until(active)
    assert mesh.call(shops.OpenShop, opening).shop.shop_id == opened.shop.shop_id
    assert shops_everywhere(mesh) == [rows + 1 for rows in before]


@pytest.mark.parametrize("point", OPENING_POINTS)
def test_a_shop_opens_once_whoever_dies_in_between(services: Services, point: str) -> None:
    victim, _, _ = point.partition(".")
    opening = new_shop()
    services.restart(victim, crash_at=point)
    with services.mesh() as mesh:
        before = shops_everywhere(mesh)
        with contextlib.suppress(grpc.RpcError):
            mesh.call(shop_grpc.ShopServiceStub(mesh.shops).OpenShop, opening)

        def died() -> bool:
            approve_all(mesh)
            return services.died(victim)

        until(died)
    services.start(victim)
    with services.mesh() as mesh:
        assert_opens_once(mesh, opening, before)


def test_a_shop_opens_once_when_all_die_together(services: Services) -> None:
    opening = new_shop()
    with services.mesh() as mesh:
        before = shops_everywhere(mesh)
        applications = count(mesh, "payments", "partner_applications")
        mesh.call(shop_grpc.ShopServiceStub(mesh.shops).OpenShop, opening)
        until(lambda: count(mesh, "payments", "partner_applications") > applications)  # it is under way
    services.kill(*SERVICES)
    services.start(*SERVICES)
    with services.mesh() as mesh:
        assert_opens_once(mesh, opening, before)


@pytest.mark.parametrize("when", ["commit", "answer"])
def test_a_payment_has_one_outcome_when_payments_dies_before_or_after_its_commit(services: Services, when: str) -> None:
    with services.mesh() as mesh:
        until(lambda: approve_all(mesh))  # the services have found each other again
        tenant, wallet_id = mesh.tenant(), mesh.wallet(1000)
        token = mesh.token_of(tenant.client_id, tenant.client_secret)
        request = payment_pb.CreatePaymentRequest(
            request_id=str(uuid.uuid4()), payment_code=mesh.payment_code(wallet_id, 1000), amount=jpy(300), capture=True
        )
        before = count(mesh, "payments", "payments")
        services.restart("payments", crash_at=f"payments.CreatePaymentRequest.{when}")

        def pay() -> tuple[str, str]:
            return mesh.attempt(mesh.payments.CreatePayment, request, token)

        def died() -> bool:
            assert pay()[0] == "UNAVAILABLE"
            return services.died("payments")

        until(died)
        assert count(mesh, "payments", "payments") - before == (0 if when == "commit" else 1)
        services.start("payments")
        until(lambda: pay() == OK)
        answers = {mesh.call(mesh.payments.CreatePayment, request, token).payment_id for _ in range(3)}
        assert len(answers) == 1
        assert count(mesh, "payments", "payments") - before == 1
        assert count(mesh, "payments", f"ledger_accounts WHERE owner_id = '{wallet_id}' AND balance = 700") == 1
