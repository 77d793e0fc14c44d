"""The payments service over real mTLS, with a real (if tiny) auth server that publishes its keys."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest

from mesh.access.rules import Caller
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig, ConfigError
from mesh.security import tls
from mesh.security.signed_jwt import SigningKey, public_keys, verify
from mesh.storage.database import Database
from mesh.storage.migrations import upgrade
from payments.config import PaymentsConfig
from payments.server import running
from sekisho.payments.v1 import (
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    money_pb2,
    partner_application_pb2,
    partner_application_service_pb2,
    partner_application_service_pb2_grpc,
    partner_review_service_pb2,
    partner_review_service_pb2_grpc,
    payment_service_pb2,
    payment_service_pb2_grpc,
    wallet_service_pb2,
    wallet_service_pb2_grpc,
)
from tests.integration.payments_server import (
    FOREIGN_KEY,
    ISSUER,
    MASTER,
    OPERATOR,
    PARTNER,
    STATEMENT_ISSUER,
    STATEMENT_KEY_PEM,
    WALLET,
    Metadata,
    as_caller,
    both_servers,
    channel_config,
    charge,
    create_files,
    payments_config,
    refusal,
    refused_fields,
    request_id,
    yen,
)
from tests.loop_thread import loop_thread


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("payments")
    create_files(folder)
    database = Database(f"sqlite:///{folder}/payments.db")
    database.run_here(lambda connection: upgrade(connection, "payments"))
    database.close()
    return folder


@pytest.fixture(scope="module")
def grpc_server(folder: Path) -> Iterator[int]:
    """Run the real servers on a loop in a thread; return the port of payments."""
    servers = both_servers(folder, f"sqlite:///{folder}/payments.db")
    with loop_thread() as loop, loop.entered(servers) as port:
        yield port


def open_sync_channel(config: ChannelConfig) -> grpc.Channel:
    options = [("grpc.ssl_target_name_override", config.server_name)]
    return grpc.secure_channel(config.target, tls.channel_credentials(config), options)


@pytest.fixture(scope="module")
def grpc_channel(folder: Path, grpc_server: int) -> Iterator[grpc.Channel]:
    with open_sync_channel(channel_config(folder, grpc_server, "payments", "gateway")) as channel:
        yield channel


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[payment_service_pb2_grpc.PaymentServiceStub]:
    return payment_service_pb2_grpc.PaymentServiceStub


@pytest.fixture(scope="module")
def applications(grpc_channel: grpc.Channel) -> partner_application_service_pb2_grpc.PartnerApplicationServiceStub:
    return partner_application_service_pb2_grpc.PartnerApplicationServiceStub(grpc_channel)


@pytest.fixture(scope="module")
def reviews(grpc_channel: grpc.Channel) -> partner_review_service_pb2_grpc.PartnerReviewServiceStub:
    return partner_review_service_pb2_grpc.PartnerReviewServiceStub(grpc_channel)


@pytest.fixture(scope="module")
def wallets(grpc_channel: grpc.Channel) -> wallet_service_pb2_grpc.WalletServiceStub:
    return wallet_service_pb2_grpc.WalletServiceStub(grpc_channel)


def submission() -> partner_application_service_pb2.SubmitPartnerApplicationRequest:
    return partner_application_service_pb2.SubmitPartnerApplicationRequest(
        request_id=request_id(),
        merchant_name="Tea House",
        contact_email="owner@tea.example",
        business_description="Tea and sweets",
    )


@pytest.fixture
def application(
    applications: partner_application_service_pb2_grpc.PartnerApplicationServiceStub,
) -> partner_application_pb2.PartnerApplication:
    return applications.SubmitPartnerApplication(submission(), metadata=as_caller(MASTER))


@dataclass(frozen=True)
class Story:
    """A partner, and a wallet with 10,000 yen."""

    partner: Caller
    wallet_id: str
    new_code: Callable[[], str]


@pytest.fixture
def story(
    application: partner_application_pb2.PartnerApplication,
    reviews: partner_review_service_pb2_grpc.PartnerReviewServiceStub,
    wallets: wallet_service_pb2_grpc.WalletServiceStub,
) -> Story:
    approval = partner_review_service_pb2.ApprovePartnerApplicationRequest(application_id=application.application_id)
    partner_id = reviews.ApprovePartnerApplication(approval, metadata=as_caller(OPERATOR)).partner_id
    opening = wallet_service_pb2.OpenWalletRequest(request_id=request_id(), currency_code="JPY")
    wallet_id = wallets.OpenWallet(opening, metadata=as_caller(WALLET)).wallet_id
    top_up = wallet_service_pb2.TopUpWalletRequest(request_id=request_id(), wallet_id=wallet_id, amount=yen(10_000))
    wallets.TopUpWallet(top_up, metadata=as_caller(WALLET))
    consent = wallet_service_pb2.IssuePaymentCodeRequest(wallet_id=wallet_id, limit=yen(5_000))
    return Story(
        replace(PARTNER, partner_id=partner_id),
        wallet_id,
        lambda: wallets.IssuePaymentCode(consent, metadata=as_caller(WALLET)).payment_code,
    )


def test_a_payment_is_held_captured_and_refunded(
    story: Story,
    grpc_stub: payment_service_pb2_grpc.PaymentServiceStub,
    wallets: wallet_service_pb2_grpc.WalletServiceStub,
) -> None:
    partner = as_caller(story.partner)
    payment = grpc_stub.CreatePayment(charge(story.new_code(), 4_000), metadata=partner)
    assert payment.state == payment_service_pb2.Payment.AUTHORIZED
    assert payment.partner_id == story.partner.partner_id

    capture = payment_service_pb2.CapturePaymentRequest(
        request_id=request_id(), payment_id=payment.payment_id, amount=yen(3_000)
    )
    captured = grpc_stub.CapturePayment(capture, metadata=partner)
    assert (captured.captured_amount, captured.fee_amount) == (yen(3_000), yen(75))

    refund = payment_service_pb2.RefundPaymentRequest(
        request_id=request_id(), payment_id=payment.payment_id, amount=yen(1_000)
    )
    refunded = grpc_stub.RefundPayment(refund, metadata=partner)
    assert (refunded.refunded_amount, refunded.fee_amount) == (yen(1_000), yen(50))

    again = payment_service_pb2.GetPaymentRequest(payment_id=payment.payment_id)
    assert grpc_stub.GetPayment(again, metadata=partner) == refunded
    listed = grpc_stub.ListPayments(payment_service_pb2.ListPaymentsRequest(), metadata=partner)
    assert list(listed.payments) == [refunded]
    balance = grpc_stub.GetBalance(payment_service_pb2.GetBalanceRequest(), metadata=partner)
    assert list(balance.amounts) == [yen(1_950)]
    wallet = wallets.GetWallet(
        wallet_service_pb2.GetWalletRequest(wallet_id=story.wallet_id), metadata=as_caller(WALLET)
    )
    assert wallet.available == yen(8_000)


def test_a_canceled_payment_goes_back_to_the_wallet(
    story: Story,
    grpc_stub: payment_service_pb2_grpc.PaymentServiceStub,
    wallets: wallet_service_pb2_grpc.WalletServiceStub,
) -> None:
    partner = as_caller(story.partner)
    payment = grpc_stub.CreatePayment(charge(story.new_code(), 4_000), metadata=partner)
    cancel = payment_service_pb2.CancelPaymentRequest(request_id=request_id(), payment_id=payment.payment_id)
    assert grpc_stub.CancelPayment(cancel, metadata=partner).state == payment_service_pb2.Payment.CANCELED
    wallet = wallets.GetWallet(
        wallet_service_pb2.GetWalletRequest(wallet_id=story.wallet_id), metadata=as_caller(WALLET)
    )
    assert wallet.available == yen(10_000)


def test_the_same_request_gets_the_same_answer_even_when_the_payment_has_moved_on(
    story: Story, grpc_stub: payment_service_pb2_grpc.PaymentServiceStub
) -> None:
    partner = as_caller(story.partner)
    request = charge(story.new_code(), 4_000)
    payment = grpc_stub.CreatePayment(request, metadata=partner)
    capture = payment_service_pb2.CapturePaymentRequest(request_id=request_id(), payment_id=payment.payment_id)
    grpc_stub.CapturePayment(capture, metadata=partner)
    assert grpc_stub.CreatePayment(request, metadata=partner) == payment

    request.amount.minor_units = 4_001
    answer = refusal(lambda: grpc_stub.CreatePayment(request, metadata=partner))
    assert answer == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_refusals_of_a_payment_name_their_reason(
    story: Story, grpc_stub: payment_service_pb2_grpc.PaymentServiceStub
) -> None:
    partner, code, fresh = as_caller(story.partner), story.new_code(), story.new_code()
    payment = grpc_stub.CreatePayment(charge(code, 4_000), metadata=partner)
    capture = payment_service_pb2.CapturePaymentRequest(request_id=request_id(), payment_id=payment.payment_id)
    refund = payment_service_pb2.RefundPaymentRequest(request_id=request_id(), payment_id=payment.payment_id)
    reasons = {
        "PAYMENT_CODE_USED": lambda: grpc_stub.CreatePayment(charge(code, 1), metadata=partner),
        "PAYMENT_CODE_LIMIT_EXCEEDED": lambda: grpc_stub.CreatePayment(charge(fresh, 5_001), metadata=partner),
        "PAYMENT_STATE_CONFLICT": lambda: grpc_stub.RefundPayment(refund, metadata=partner),
    }
    for reason, call in reasons.items():
        assert refusal(call) == (grpc.StatusCode.FAILED_PRECONDITION, reason)
    capture.amount.CopyFrom(yen(4_001))
    answer = refusal(lambda: grpc_stub.CapturePayment(capture, metadata=partner))
    assert answer == (grpc.StatusCode.FAILED_PRECONDITION, "AMOUNT_TOO_LARGE")
    unknown = charge("pmc_AAAAAAAAAAAAAAAAAAAAAA", 1)
    answer = refusal(lambda: grpc_stub.CreatePayment(unknown, metadata=partner))
    assert answer == (grpc.StatusCode.NOT_FOUND, "PAYMENT_CODE_NOT_FOUND")


def test_an_application_has_what_was_submitted_and_all_of_it_is_required(
    applications: partner_application_service_pb2_grpc.PartnerApplicationServiceStub,
) -> None:
    request = submission()
    submitted = applications.SubmitPartnerApplication(request, metadata=as_caller(MASTER))
    for field in ("merchant_name", "contact_email", "business_description"):
        assert getattr(submitted, field) == getattr(request, field)
    nothing = partner_application_service_pb2.SubmitPartnerApplicationRequest()
    refused = refused_fields(lambda: applications.SubmitPartnerApplication(nothing, metadata=as_caller(MASTER)))
    assert refused == {field.name for field in nothing.DESCRIPTOR.fields}


def test_a_decision_stands(
    story: Story,
    application: partner_application_pb2.PartnerApplication,
    reviews: partner_review_service_pb2_grpc.PartnerReviewServiceStub,
) -> None:
    approval = partner_review_service_pb2.ApprovePartnerApplicationRequest(application_id=application.application_id)
    again = reviews.ApprovePartnerApplication(approval, metadata=as_caller(replace(OPERATOR, client_id="cli_other")))
    assert (again.partner_id, again.reviewer) == (story.partner.partner_id, OPERATOR.client_id)
    rejection = partner_review_service_pb2.RejectPartnerApplicationRequest(
        application_id=application.application_id, rejection_reason="changed my mind"
    )
    answer = refusal(lambda: reviews.RejectPartnerApplication(rejection, metadata=as_caller(OPERATOR)))
    assert answer == (grpc.StatusCode.FAILED_PRECONDITION, "APPLICATION_ALREADY_DECIDED")


def test_pending_applications_are_listed_page_by_page(
    applications: partner_application_service_pb2_grpc.PartnerApplicationServiceStub,
    reviews: partner_review_service_pb2_grpc.PartnerReviewServiceStub,
) -> None:
    made = {
        applications.SubmitPartnerApplication(submission(), metadata=as_caller(MASTER)).application_id for _ in range(3)
    }
    seen: list[str] = []
    request = partner_review_service_pb2.ListPendingPartnerApplicationsRequest(page_size=2)
    while True:
        page = reviews.ListPendingPartnerApplications(request, metadata=as_caller(OPERATOR))
        seen += [application.application_id for application in page.applications]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert made <= set(seen)
    assert seen == sorted(set(seen))
    request.page_token = "garbage"
    answer = refusal(lambda: reviews.ListPendingPartnerApplications(request, metadata=as_caller(OPERATOR)))
    assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


def test_an_approved_application_comes_with_a_signed_statement(
    story: Story,
    application: partner_application_pb2.PartnerApplication,
    applications: partner_application_service_pb2_grpc.PartnerApplicationServiceStub,
) -> None:
    request = partner_application_service_pb2.GetPartnerApplicationRequest(application_id=application.application_id)
    approved = applications.GetPartnerApplication(request, metadata=as_caller(MASTER))
    assert approved.state == partner_application_pb2.PartnerApplication.APPROVED
    assert approved.reviewer == OPERATOR.client_id
    claims = verify(
        approved.software_statement,
        public_keys({"keys": [SigningKey.from_pem(STATEMENT_KEY_PEM).public_jwk()]}),
        typ="software-statement+jwt",
        issuer=STATEMENT_ISSUER,
        audience=ISSUER,
        now=time.time(),
    )
    assert claims["jti"] == application.application_id
    assert (claims["partner_id"], claims["platform_id"]) == (story.partner.partner_id, "plt_shops")
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60
    assert jwt.get_unverified_header(approved.software_statement)["typ"] == "software-statement+jwt"


def test_another_platform_does_not_see_an_application(
    application: partner_application_pb2.PartnerApplication,
    applications: partner_application_service_pb2_grpc.PartnerApplicationServiceStub,
) -> None:
    other = as_caller(replace(MASTER, platform_id="plt_other"))
    for application_id in (application.application_id, "app_00000000000000000000000000"):
        request = partner_application_service_pb2.GetPartnerApplicationRequest(application_id=application_id)
        answer = refusal(lambda request=request: applications.GetPartnerApplication(request, metadata=other))
        assert answer == (grpc.StatusCode.NOT_FOUND, "APPLICATION_NOT_FOUND")
    everything = partner_application_service_pb2.ListPartnerApplicationsRequest()
    assert not applications.ListPartnerApplications(everything, metadata=other).applications


def test_another_partner_does_not_see_a_payment(
    story: Story, grpc_stub: payment_service_pb2_grpc.PaymentServiceStub
) -> None:
    payment = grpc_stub.CreatePayment(charge(story.new_code(), 1), metadata=as_caller(story.partner))
    other = as_caller(replace(story.partner, partner_id="ptn_other"))
    request = payment_service_pb2.GetPaymentRequest(payment_id=payment.payment_id)
    assert refusal(lambda: grpc_stub.GetPayment(request, metadata=other)) == (
        grpc.StatusCode.NOT_FOUND,
        "PAYMENT_NOT_FOUND",
    )
    refund = payment_service_pb2.RefundPaymentRequest(request_id=request_id(), payment_id=payment.payment_id)
    assert refusal(lambda: grpc_stub.RefundPayment(refund, metadata=other)) == (
        grpc.StatusCode.NOT_FOUND,
        "PAYMENT_NOT_FOUND",
    )
    assert not grpc_stub.ListPayments(payment_service_pb2.ListPaymentsRequest(), metadata=other).payments


def test_the_trial_balance_balances(story: Story, grpc_channel: grpc.Channel) -> None:
    payments = payment_service_pb2_grpc.PaymentServiceStub(grpc_channel)
    payments.CreatePayment(charge(story.new_code(), 500, capture=True), metadata=as_caller(story.partner))
    ledger = ledger_service_pb2_grpc.LedgerServiceStub(grpc_channel)
    rows = ledger.GetTrialBalance(ledger_service_pb2.GetTrialBalanceRequest(), metadata=as_caller(OPERATOR)).rows
    assert {row.account_kind for row in rows} == {"CASH", "WALLET", "HOLD", "PARTNER", "FEE"}
    assert sum(row.debit_minor_units for row in rows) == sum(row.credit_minor_units for row in rows) > 0


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": yen(0)},
        {"amount": yen(-1)},
        {"amount": yen(1_000_000_000_001)},
        {"amount": yen(2**63 - 1)},
        {"amount": money_pb2.Money(currency_code="XXX", minor_units=1)},
        {"amount": money_pb2.Money(currency_code="jpy", minor_units=1)},
        {"amount": None},
        {"request_id": "short"},
        {"payment_code": ""},
        {"payment_code": "pmc_\0"},
        {"description": "x" * 201},
    ],
)
def test_bad_fields_are_refused(
    changed: dict[str, object], story: Story, grpc_stub: payment_service_pb2_grpc.PaymentServiceStub
) -> None:
    fields = {"request_id": request_id(), "payment_code": story.new_code(), "amount": yen(1), **changed}
    request = payment_service_pb2.CreatePaymentRequest(**fields)
    answer = refusal(lambda: grpc_stub.CreatePayment(request, metadata=as_caller(story.partner)))
    assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


def test_an_absurd_lifetime_of_a_payment_code_is_refused(
    story: Story, wallets: wallet_service_pb2_grpc.WalletServiceStub
) -> None:
    for seconds, nanos in ((0, 0), (-1, 0), (3601, 0), (2**63 - 1, 0), (0, -1)):
        request = wallet_service_pb2.IssuePaymentCodeRequest(wallet_id=story.wallet_id, limit=yen(1))
        request.ttl.seconds, request.ttl.nanos = seconds, nanos
        answer = refusal(lambda request=request: wallets.IssuePaymentCode(request, metadata=as_caller(WALLET)))
        assert answer == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param((), id="no token"),
        pytest.param((("authorization", "Basic eDp5"),), id="another scheme"),
        pytest.param((("authorization", "Bearer sat_garbage"),), id="an access token"),
        pytest.param(as_caller(PARTNER) * 2, id="two headers"),
        pytest.param(as_caller(PARTNER, audience="authserver"), id="another audience"),
        pytest.param(as_caller(PARTNER, issuer="https://elsewhere.test"), id="another issuer"),
        pytest.param(as_caller(PARTNER, key=FOREIGN_KEY), id="another key"),
        pytest.param(as_caller(PARTNER, age=400), id="expired"),
    ],
)
def test_without_a_good_private_token_nothing_is_answered(
    metadata: Metadata, grpc_stub: payment_service_pb2_grpc.PaymentServiceStub
) -> None:
    request = payment_service_pb2.ListPaymentsRequest()
    answer = refusal(lambda: grpc_stub.ListPayments(request, metadata=metadata))
    assert answer == (grpc.StatusCode.UNAUTHENTICATED, "INVALID_PRIVATE_TOKEN")


@pytest.mark.parametrize("caller", [WALLET, MASTER, OPERATOR])
def test_only_partners_call_the_payment_service(
    caller: Caller, grpc_stub: payment_service_pb2_grpc.PaymentServiceStub
) -> None:
    scoped = replace(caller, scopes=PARTNER.scopes)
    # Whoever may not call learns nothing about the fields either: this request is invalid too.
    request = payment_service_pb2.CreatePaymentRequest()
    answer = refusal(lambda: grpc_stub.CreatePayment(request, metadata=as_caller(scoped)))
    assert answer == (grpc.StatusCode.PERMISSION_DENIED, "CLIENT_TYPE_NOT_ALLOWED")


def test_a_token_without_the_scope_is_refused(grpc_stub: payment_service_pb2_grpc.PaymentServiceStub) -> None:
    reader = replace(PARTNER, scopes=frozenset({"payments.read"}))
    request = payment_service_pb2.CreatePaymentRequest()
    answer = refusal(lambda: grpc_stub.CreatePayment(request, metadata=as_caller(reader)))
    assert answer == (grpc.StatusCode.PERMISSION_DENIED, "INSUFFICIENT_SCOPE")


def test_only_the_gateway_calls_payments(folder: Path, grpc_server: int) -> None:
    with open_sync_channel(channel_config(folder, grpc_server, "payments", "authserver")) as channel:
        stub = payment_service_pb2_grpc.PaymentServiceStub(channel)
        request = payment_service_pb2.ListPaymentsRequest()
        answer = refusal(lambda: stub.ListPayments(request, metadata=as_caller(PARTNER)))
    assert answer == (grpc.StatusCode.PERMISSION_DENIED, "WORKLOAD_NOT_ALLOWED")


def test_a_caller_without_a_certificate_does_not_get_a_connection(folder: Path, grpc_server: int) -> None:
    config = ChannelConfig(
        target=f"127.0.0.1:{grpc_server}", ca=folder / "ca.pem", server_name=tls.dns_name("payments")
    )
    request = payment_service_pb2.ListPaymentsRequest()
    with open_sync_channel(config) as channel:
        stub = payment_service_pb2_grpc.PaymentServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListPayments(request, metadata=as_caller(PARTNER), timeout=30)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_channel_to_the_auth_server_keeps_up_with_a_new_ca_and_a_renewed_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.channels.renewed_channel._LOOK_SECONDS", 0.05)
    create_files(tmp_path)
    database = Database(f"sqlite:///{tmp_path}/payments.db")
    database.run_here(lambda connection: upgrade(connection, "payments"))
    database.close()

    async with both_servers(tmp_path, f"sqlite:///{tmp_path}/payments.db") as port:
        (tmp_path / "ca.pem").unlink()
        create_files(tmp_path)
        request, metadata = payment_service_pb2.ListPaymentsRequest(), as_caller(PARTNER)
        async with open_channel(channel_config(tmp_path, port, "payments", "gateway")) as channel:
            stub: Any = payment_service_pb2_grpc.PaymentServiceStub(channel)
            async with asyncio.timeout(60):  # first without the auth server's keys
                while await stub.ListPayments(request, metadata=metadata).code() is not grpc.StatusCode.OK:
                    pass


async def start_and_stop(config: PaymentsConfig) -> None:
    async with running(config):
        pass


async def test_it_does_not_start_on_a_database_without_its_schema(folder: Path, tmp_path: Path) -> None:
    config = payments_config(folder, 1, f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(ConfigError, match="sekisho migrate"):
        await start_and_stop(config)
