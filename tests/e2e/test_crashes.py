"""Whatever process dies, at whatever point: the shop opens once, and each request has its one true outcome."""

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from sqlalchemy import create_engine, text

from mesh.crash_points import VARIABLE
from sekisho.payments.v1 import partner_review_service_pb2 as review_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from sekisho.payments.v1 import payment_service_pb2_grpc as payment_grpc
from sekisho.shops.v1 import shop_service_pb2 as shop_pb
from sekisho.shops.v1 import shop_service_pb2_grpc as shop_grpc
from tests.mesh import Mesh, jpy, mesh_up

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
PATIENCE_SECONDS = 40.0


def crashing_up(home: Path, point: str) -> subprocess.Popen[str]:
    """Run a mesh, one of whose services will die at a point."""
    command = [sys.executable, "-c", "from cli.main import main; main()", "up", "--port", "0", "--json"]
    environment = {**os.environ, VARIABLE: point}
    return subprocess.Popen(
        [*command, "--home", str(home)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        os.sched_yield()


def count(mesh: Mesh, service: str, query: str) -> int:
    engine = create_engine(mesh.home.database(service))
    with engine.connect() as connection:
        found = int(connection.execute(text(query)).scalar_one())
    engine.dispose()
    return found


def approve_all(mesh: Mesh) -> None:
    operator = mesh.token("operator")
    pending = mesh.call(
        mesh.reviews.ListPendingPartnerApplications, review_pb.ListPendingPartnerApplicationsRequest(), operator
    )
    for application in pending.applications:
        request = review_pb.ApprovePartnerApplicationRequest(application_id=application.application_id)
        mesh.call(mesh.reviews.ApprovePartnerApplication, request, operator)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("point", OPENING_POINTS)
def test_a_shop_opens_once_whoever_dies_in_between(tmp_path: Path, point: str) -> None:
    home = tmp_path / "home"
    opening = shop_pb.OpenShopRequest(
        request_id=str(uuid.uuid4()),
        display_name="Tea House",
        contact_email="tea@example.com",
        business_description="Green tea",
    )
    with crashing_up(home, point) as up:
        assert up.stdout
        assert up.stderr
        with Mesh(home, json.loads(up.stdout.readline()), up.pid) as mesh, contextlib.suppress(grpc.RpcError):
            shops = shop_grpc.ShopServiceStub(mesh.shops)
            mesh.call(shops.OpenShop, opening)
            while up.poll() is None:  # until the point is reached, and the supervisor has ended what was left
                with contextlib.suppress(grpc.RpcError):
                    approve_all(mesh)
        assert up.wait(PATIENCE_SECONDS) == 2
        assert "ended with status -9" in up.stderr.read()
    with mesh_up(home) as mesh:
        shops = shop_grpc.ShopServiceStub(mesh.shops)
        opened = mesh.call(shops.OpenShop, opening)  # the same request: the same shop, whether its answer came or not

        def active() -> bool:
            with contextlib.suppress(grpc.RpcError):  # who has only just started may not have found the others yet
                approve_all(mesh)
            request = shop_pb.GetShopRequest(shop_id=opened.shop.shop_id)
            return bool(mesh.call(shops.GetShop, request, opened.owner_token).state == shop_pb.Shop.ACTIVE)

        until(active)
        assert count(mesh, "authserver", "SELECT count(*) FROM clients WHERE client_type = 'PARTNER'") == 1
        assert count(mesh, "payments", "SELECT count(*) FROM partners") == 1
        assert count(mesh, "payments", "SELECT count(*) FROM partner_applications") == 1
        assert count(mesh, "shops", "SELECT count(*) FROM shops") == 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("when", ["commit", "answer"])
def test_a_payment_has_one_outcome_when_payments_dies_before_or_after_its_commit(tmp_path: Path, when: str) -> None:
    home = tmp_path / "home"
    with crashing_up(home, f"payments.CreatePaymentRequest.{when}") as up:
        assert up.stdout
        with Mesh(home, json.loads(up.stdout.readline()), up.pid) as mesh:
            tenant = mesh.tenant()
            token = mesh.token_of(tenant.client_id, tenant.client_secret)
            request = payment_pb.CreatePaymentRequest(
                request_id=str(uuid.uuid4()),
                payment_code=mesh.payment_code(mesh.wallet(1000), 1000),
                amount=jpy(300),
                capture=True,
            )
            with pytest.raises(grpc.RpcError) as refused:
                mesh.call(mesh.payments.CreatePayment, request, token)
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert up.wait(PATIENCE_SECONDS) == 2
    with mesh_up(home) as mesh:
        before = count(mesh, "payments", "SELECT count(*) FROM payments")
        assert before == (0 if when == "commit" else 1)
        payments = payment_grpc.PaymentServiceStub(mesh.gateway)
        answers = {mesh.call(payments.CreatePayment, request, token).payment_id for _ in range(3)}
        assert len(answers) == 1
        assert count(mesh, "payments", "SELECT count(*) FROM payments") == 1
        assert count(mesh, "payments", "SELECT sum(balance) FROM ledger_accounts WHERE kind = 'WALLET'") == 700
