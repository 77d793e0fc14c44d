"""A mesh whose calls Envoy carries: judged by the same checkpoint, by decisions that are kept while they hold."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from tests.mesh import OK, Mesh, mesh_up, outcome, sekisho
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

INVALID_TOKEN = ("UNAUTHENTICATED", "INVALID_TOKEN")
# A decision is kept no longer than this after the checkpoint was heard last.
FRESH_SECONDS = 1.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with mesh_up(tmp_path_factory.mktemp("envoy") / "home", plane="envoy") as running:
        yield running


@pytest.fixture
def shop(mesh: Mesh) -> tuple[str, str, str]:
    """Return a new shop's id, secret and token."""
    tenant = mesh.tenant()
    return tenant.client_id, tenant.client_secret, mesh.token_of(tenant.client_id, tenant.client_secret)


def list_payments(mesh: Mesh, token: str | None) -> tuple[str, str]:
    return mesh.attempt(mesh.payments.ListPayments, payment_pb.ListPaymentsRequest(), token)


def revoke(mesh: Mesh, shop: tuple[str, str, str]) -> None:
    client_id, client_secret, token = shop
    request = token_pb.RevokeTokenRequest(token=token, client_id=client_id, client_secret=client_secret)
    mesh.call(mesh.tokens.RevokeToken, request)


def asked(mesh: Mesh) -> int:
    """Return how often the checkpoint was asked about a list of payments."""
    return mesh.home.log("checkpoint").read_text().count("ListPayments")


def test_the_whole_story_is_told(mesh: Mesh) -> None:
    told = sekisho("demo", "--json", "--home", str(mesh.home.path))
    assert told.returncode == 0, told.stdout


def test_the_checkpoint_is_asked_once_by_each_worker_and_the_answer_is_kept(
    mesh: Mesh, shop: tuple[str, str, str]
) -> None:
    before = asked(mesh)
    for _ in range(100):
        assert list_payments(mesh, shop[2]) == OK
    until(lambda: asked(mesh) > before)
    assert asked(mesh) - before <= 2 * (os.cpu_count() or 1)


def test_who_is_refused_is_told_why_each_time(mesh: Mesh) -> None:
    for _ in range(3):
        assert list_payments(mesh, None) == ("UNAUTHENTICATED", "MISSING_TOKEN")
        assert list_payments(mesh, "sat_none") == INVALID_TOKEN
        assert list_payments(mesh, mesh.token("master")) == ("PERMISSION_DENIED", "CLIENT_TYPE_NOT_ALLOWED")
    unknown = mesh.gateway.unary_unary("/sekisho.payments.v1.PaymentService/NoSuchMethod")
    with pytest.raises(grpc.RpcError) as refused:
        unknown(b"", timeout=20)
    assert outcome(refused.value) == ("UNIMPLEMENTED", "METHOD_NOT_FOUND")


def test_a_revoked_token_is_refused_within_a_second_and_for_good(mesh: Mesh, shop: tuple[str, str, str]) -> None:
    for _ in range(20):
        assert list_payments(mesh, shop[2]) == OK
    revoke(mesh, shop)
    end = time.monotonic() + FRESH_SECONDS
    while list_payments(mesh, shop[2]) == OK:
        assert time.monotonic() < end
    for _ in range(50):
        assert list_payments(mesh, shop[2]) == INVALID_TOKEN


def test_a_stream_ends_when_its_token_is_revoked(mesh: Mesh, shop: tuple[str, str, str]) -> None:
    metadata = [("authorization", f"Bearer {shop[2]}")]
    watch: Any = mesh.payments.WatchPayments(
        payment_pb.WatchPaymentsRequest(from_now=True), metadata=metadata, timeout=60
    )
    next(watch)
    revoke(mesh, shop)
    with pytest.raises(grpc.RpcError) as ended:
        list(watch)
    assert ended.value.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL}
    again: Any = mesh.payments.WatchPayments(payment_pb.WatchPaymentsRequest(), metadata=metadata, timeout=60)
    with pytest.raises(grpc.RpcError) as refused:
        next(again)
    assert outcome(refused.value) == INVALID_TOKEN


def test_health_is_told_to_outsiders(mesh: Mesh) -> None:
    health: Any = health_pb2_grpc.HealthStub(mesh.gateway)
    answer = health.Check(health_pb2.HealthCheckRequest(service="sekisho.gateway.Revocations"), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as refused:
        health.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=20)
    assert outcome(refused.value) == ("NOT_FOUND", "HEALTH_NOT_FOUND")


def test_while_the_checkpoint_hangs_nothing_passes_unchecked(tmp_path: Path) -> None:
    with mesh_up(tmp_path / "home", plane="envoy") as mesh:
        tenant = mesh.tenant()
        token = mesh.token_of(tenant.client_id, tenant.client_secret)
        for _ in range(20):
            assert list_payments(mesh, token) == OK
        checkpoint = pid_of(mesh, "envoy_plane")
        os.kill(checkpoint, signal.SIGSTOP)
        try:
            end = time.monotonic() + FRESH_SECONDS
            while list_payments(mesh, token) == OK:
                assert time.monotonic() < end + FRESH_SECONDS
            for _ in range(3):
                assert list_payments(mesh, token)[0] == "UNAVAILABLE"
        finally:
            os.kill(checkpoint, signal.SIGCONT)
        until(lambda: list_payments(mesh, token) == OK)


def pid_of(mesh: Mesh, module: str) -> int:
    """Return the process of a module that reads a configuration of this mesh."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            command = (process / "cmdline").read_bytes().split(b"\0")
            if module.encode() in command and str(mesh.home.path).encode() in b" ".join(command):
                return int(process.name)
    raise AssertionError(f"{module} does not run")


def test_the_same_policy_gives_the_same_files_which_envoy_takes_and_that_hold_no_secret(
    mesh: Mesh, tmp_path: Path
) -> None:
    render = ["envoy", "render", "--home", str(mesh.home.path), "--output", str(tmp_path / "envoy")]
    contents = []
    for _ in range(2):
        done = sekisho(*render, "--check")
        assert done.returncode == 0, done.stderr
        contents.append({file.name: file.read_text() for file in (tmp_path / "envoy").iterdir()})
    assert contents[0] == contents[1]
    text = "".join(contents[0].values())
    assert "PRIVATE KEY" not in text
    for who in ("master", "operator", "wallet"):
        assert mesh.credentials(who)[1] not in text
