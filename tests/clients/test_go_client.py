"""The Go client, built from the contracts as a partner company would, against a real mesh."""

import json
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from sekisho.payments.v1 import partner_application_service_pb2 as application_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from tests.clients.built import ROOT, go_command, go_version, kept, run
from tests.mesh import Mesh, Tenant, jpy
from tests.services import Services

SHORT_TTL_SECONDS = 4


@pytest.fixture(scope="module")
def workshop() -> Path:
    """Copy contracts and client to a folder of their own, and build there; return the client's folder."""
    client = ROOT / "clients" / "go"
    generated = shutil.ignore_patterns("bin", "internal")

    def build(folder: Path) -> None:
        shutil.copytree(ROOT / "protos", folder / "protos")
        shutil.copytree(client, folder / "clients" / "go", ignore=generated)
        make(folder / "clients" / "go", "bin/partner")

    contracts = (ROOT / "protos").rglob("*.proto")
    own = (
        file
        for file in client.rglob("*")
        if file.is_file() and not {"bin", "internal"} & set(file.relative_to(client).parts)
    )
    return kept("go-client", go_version(), [*contracts, *own], build) / "clients" / "go"


def make(client: Path, target: str) -> None:
    buf = Path(sys.executable).with_name("buf")
    # Without the folder's name in what is built, Go's cache serves the next version, too.
    flags = "-trimpath -buildvcs=false"
    run("make", f"GO={go_command()}", f"BUF={buf}", target, folder=client, GOFLAGS=flags)


class Partner:
    """The `partner` command, called for one mesh."""

    def __init__(self, workshop: Path, mesh: Mesh) -> None:
        self.binary = workshop / "bin" / "partner"
        self.where = ["--gateway", mesh.addresses["gateway"], "--ca", mesh.addresses["ca"]]

    def command(self, name: str, credentials: str | Path, *arguments: str) -> list[str]:
        return [str(self.binary), name, *self.where, "--credentials", str(credentials), *arguments]

    def run(self, name: str, credentials: str | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.command(name, credentials, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def lines(self, name: str, credentials: str | Path, *arguments: str) -> list[dict[str, Any]]:
        done = self.run(name, credentials, *arguments)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def running(self, name: str, credentials: str | Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        command = self.command(name, credentials, *arguments)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()


class Shop:
    """A shop, whose payments the test makes, and its credentials file."""

    def __init__(self, mesh: Mesh, folder: Path, tenant: Tenant) -> None:
        self.mesh = mesh
        self.tenant = tenant
        self.wallet_id = mesh.wallet(100_000)
        self.credentials = folder / f"{tenant.client_id}.json"
        self.credentials.write_text(
            json.dumps({"client_id": tenant.client_id, "client_secret": tenant.client_secret}), encoding="utf-8"
        )

    def pay(self) -> str:
        request = payment_pb.CreatePaymentRequest(
            request_id=str(uuid.uuid4()), payment_code=self.mesh.payment_code(self.wallet_id, 100), amount=jpy(100)
        )
        return str(self._call(self.mesh.payments.CreatePayment, request).payment_id)

    def capture(self, payment_id: str) -> None:
        request = payment_pb.CapturePaymentRequest(request_id=str(uuid.uuid4()), payment_id=payment_id)
        self._call(self.mesh.payments.CapturePayment, request)

    def _call(self, method: Any, request: Any) -> Any:
        return self.mesh.call(method, request, self.mesh.token_of(self.tenant.client_id, self.tenant.client_secret))


def next_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    assert line, process.stderr and process.stderr.read()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def steps(changes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(change["payment"]["payment_id"], change["change"]) for change in changes]


@pytest.fixture
def partner(workshop: Path, mesh: Mesh) -> Partner:
    return Partner(workshop, mesh)


@pytest.fixture
def shop(mesh: Mesh, tmp_path: Path) -> Shop:
    return Shop(mesh, tmp_path, mesh.tenant())


@pytest.mark.timeout(600)
def test_the_go_sources_pass_their_own_checks(workshop: Path) -> None:
    make(workshop, "check")


@pytest.mark.timeout(600)
def test_an_application_that_go_submits_is_in_the_platforms_list(mesh: Mesh, partner: Partner) -> None:
    merchant = f"抹茶 {uuid.uuid4()}"
    told = {"merchant": merchant, "email": "tea@example.com", "business": "Tea", "request-id": str(uuid.uuid4())}
    arguments = [f"--{name}={value}" for name, value in told.items()]
    [submitted] = partner.lines("submit", mesh.addresses["master_credentials"], *arguments)
    assert submitted["state"] == "PENDING"
    assert partner.lines("submit", mesh.addresses["master_credentials"], *arguments) == [submitted]
    listed = mesh.call(
        mesh.applications.ListPartnerApplications,
        application_pb.ListPartnerApplicationsRequest(),
        mesh.token("master"),
    )
    found = [application for application in listed.applications if application.merchant_name == merchant]
    assert [application.application_id for application in found] == [submitted["application_id"]]


@pytest.mark.timeout(600)
def test_go_reads_from_the_rich_error_why_a_platform_may_not_pay_and_in_which_call(
    mesh: Mesh, partner: Partner, shop: Shop
) -> None:
    [refused] = partner.lines("pay-as-master", mesh.addresses["master_credentials"])
    assert refused.pop("request_id")
    assert refused == {"code": "PermissionDenied", "reason": "CLIENT_TYPE_NOT_ALLOWED"}
    otherwise = partner.run("pay-as-master", shop.credentials)
    assert otherwise.returncode == 1
    refused = json.loads(otherwise.stdout)
    assert refused.pop("request_id")
    assert refused == {"code": "NotFound", "reason": "PAYMENT_CODE_NOT_FOUND"}


@pytest.mark.timeout(600)
def test_go_says_why_it_got_no_token(partner: Partner, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"client_id": "cli_none", "client_secret": "scs_guessed"}', encoding="utf-8")
    refused = partner.run("list", wrong)
    assert refused.returncode == 1
    # Which of the two depends on how often other tests, at the same address, have guessed a secret lately.
    reason = "(Unauthenticated INVALID_CLIENT|ResourceExhausted TOO_MANY_FAILURES)"
    assert re.match(rf"partner list: {reason}: .+ \(request \w+\)$", refused.stderr)
    assert "scs_guessed" not in refused.stderr


@pytest.mark.timeout(600)
def test_go_lists_all_pages_of_a_shops_own_payments(partner: Partner, shop: Shop) -> None:
    paid = [shop.pay() for _ in range(5)]
    listed = partner.lines("list", shop.credentials, "--page-size", "2")
    assert [payment["payment_id"] for payment in listed] == paid[::-1]
    assert {payment["authorized_amount"]["minor_units"] for payment in listed} == {"100"}


@pytest.mark.timeout(600)
def test_a_watch_in_go_goes_on_by_cursor_without_loss_or_repetition(partner: Partner, shop: Shop) -> None:
    first, second = shop.pay(), shop.pay()
    with partner.running("watch", shop.credentials, "--count", "4") as watch:
        beginning = next_line(watch)
        assert set(beginning) == {"cursor"}
        seen = [next_line(watch), next_line(watch)]
        shop.capture(second)  # while it watches
        seen.append(next_line(watch))
        watch.terminate()
        assert watch.wait(30) == 1
    shop.capture(first)  # while nobody watches
    third = shop.pay()
    resumed, *rest = partner.lines("watch", shop.credentials, "--cursor", seen[-1]["cursor"], "--count", "2")
    assert resumed == {"cursor": seen[-1]["cursor"]}
    expected = [(first, "AUTHORIZED"), (second, "AUTHORIZED"), (second, "CAPTURED")]
    assert steps(seen) == expected
    assert steps(rest) == [(first, "CAPTURED"), (third, "AUTHORIZED")]
    assert partner.lines("watch", shop.credentials, "--count", "5") == [beginning, *seen, *rest]


@pytest.mark.timeout(600)
def test_a_watch_in_go_from_now_on_shows_later_changes_only(partner: Partner, shop: Shop) -> None:
    shop.pay()
    with partner.running("watch", shop.credentials, "--from-now", "--count", "1") as watch:
        beginning = next_line(watch)
        later = shop.pay()
        change = next_line(watch)
        assert watch.wait(30) == 0
    assert steps([change]) == [(later, "AUTHORIZED")]
    again = partner.lines("watch", shop.credentials, "--cursor", beginning["cursor"], "--count", "1")
    assert again == [beginning, change]


@pytest.mark.timeout(600)
def test_a_cursor_that_is_none_ends_a_watch_in_go(partner: Partner, shop: Shop) -> None:
    refused = partner.run("watch", shop.credentials, "--cursor", "nonsense", "--count", "1")
    assert refused.returncode == 1
    assert "InvalidArgument INVALID_REQUEST" in refused.stderr


@contextmanager
def mesh_of_short_tokens(home: Path) -> Iterator[Mesh]:
    """Run a mesh whose access tokens live for seconds only."""
    with Services(home) as services:
        path = services.home.config("authserver")
        config = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**config, "access_token_ttl_seconds": SHORT_TTL_SECONDS}), encoding="utf-8")
        services.start("authserver", "payments", "gateway")
        with services.mesh() as mesh:
            yield mesh


@pytest.mark.timeout(600)
def test_a_watch_in_go_outlives_its_token(workshop: Path, tmp_path: Path) -> None:
    with mesh_of_short_tokens(tmp_path / "home") as mesh:
        shop = Shop(mesh, tmp_path, mesh.tenant())
        partner = Partner(workshop, mesh)
        with partner.running("watch", shop.credentials, "--count", "4") as watch:
            assert watch.stderr
            next_line(watch)
            paid = [shop.pay()]
            seen = [next_line(watch)]
            for _ in range(2):
                resuming = watch.stderr.readline()  # comes when the token has expired
                assert "reason=TOKEN_EXPIRED" in resuming
                assert f"cursor={seen[-1]['cursor']}" in resuming
                paid.append(shop.pay())
                seen.append(next_line(watch))
            paid.append(shop.pay())
            seen.append(next_line(watch))
            assert watch.wait(30) == 0
    assert steps(seen) == [(payment_id, "AUTHORIZED") for payment_id in paid]
    assert len({change["cursor"] for change in seen}) == len(seen)
