"""Every refusal that an outsider can meet has the right status and reason, and changes nothing."""

import statistics
import string
import time
import uuid

import grpc
import pytest

from cli.demo import backstage
from mesh.security import signed_jwt, tls
from sekisho.auth.v1 import client_registration_service_pb2 as registration_pb
from sekisho.auth.v1 import exchange_service_pb2_grpc as exchange_grpc
from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.payments.v1 import partner_application_service_pb2 as application_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from sekisho.payments.v1 import payment_service_pb2_grpc as payment_grpc
from sekisho.payments.v1 import wallet_service_pb2 as wallet_pb
from sekisho.payments.v1.money_pb2 import Money
from tests.mesh import OK, Mesh, Tenant, error_info, exchange_request, jpy, outcome

INVALID_TOKEN = ("UNAUTHENTICATED", "INVALID_TOKEN")
REFUSED = (("UNAUTHENTICATED", "INVALID_CLIENT"), ("RESOURCE_EXHAUSTED", "TOO_MANY_FAILURES"))
INVALID_REQUEST = ("INVALID_ARGUMENT", "INVALID_REQUEST")


@pytest.fixture(scope="module")
def mesh(mesh_on_each_database: Mesh) -> Mesh:
    return mesh_on_each_database


@pytest.fixture(scope="module")
def tenant(mesh: Mesh) -> Tenant:
    return mesh.tenant()


@pytest.fixture(scope="module")
def shop(mesh: Mesh, tenant: Tenant) -> str:
    """Return a shop's token."""
    return mesh.token_of(tenant.client_id, tenant.client_secret)


@pytest.fixture(scope="module")
def master(mesh: Mesh) -> str:
    return mesh.token("master")


def list_payments(mesh: Mesh, token: str | None, **metadata: str) -> tuple[str, str]:
    return mesh.attempt(mesh.payments.ListPayments, payment_pb.ListPaymentsRequest(), token, **metadata)


def payment(code: str, amount: Money, request_id: str = "") -> payment_pb.CreatePaymentRequest:
    return payment_pb.CreatePaymentRequest(
        request_id=request_id or str(uuid.uuid4()), payment_code=code, amount=amount, capture=True
    )


def wallet_balance(mesh: Mesh, wallet_id: str) -> int:
    request = wallet_pb.GetWalletRequest(wallet_id=wallet_id)
    return int(mesh.call(mesh.wallets.GetWallet, request, mesh.token("wallet")).available.minor_units)


# Tokens


def test_a_good_token_passes(mesh: Mesh, shop: str) -> None:
    assert list_payments(mesh, shop) == OK


def test_several_spaces_before_a_token_are_no_matter(mesh: Mesh, shop: str) -> None:
    assert list_payments(mesh, None, authorization=f"Bearer   {shop}") == OK


def test_no_token_is_refused(mesh: Mesh) -> None:
    assert list_payments(mesh, None) == ("UNAUTHENTICATED", "MISSING_TOKEN")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic Zm9vOmJhcg==", "Bearer a b", "Bearer  "])
def test_a_malformed_authorization_is_refused(mesh: Mesh, value: str) -> None:
    assert list_payments(mesh, None, authorization=value) == ("UNAUTHENTICATED", "MALFORMED_AUTHORIZATION")


def test_two_authorization_headers_are_refused_even_if_both_are_good(mesh: Mesh, shop: str) -> None:
    got = list_payments(mesh, shop, authorization=f"Bearer {shop}")
    assert got == ("UNAUTHENTICATED", "MALFORMED_AUTHORIZATION")


def test_garbage_is_refused(mesh: Mesh) -> None:
    for token in ("garbage", "sat_", "sat_AAAA", "sat_" + "A" * 900, "sat_" + "A" * 5000, "eyJhbGciOiJub25lIn0.e30."):
        assert list_payments(mesh, token) == INVALID_TOKEN


def test_a_token_with_one_character_changed_is_refused(mesh: Mesh, shop: str) -> None:
    for position in range(4, len(shop), 11):
        other = "A" if shop[position] != "A" else "B"
        assert list_payments(mesh, shop[:position] + other + shop[position + 1 :]) == INVALID_TOKEN


def test_another_spelling_of_the_same_token_is_refused(mesh: Mesh, tenant: Tenant) -> None:
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    # A token whose length leaves spare bits in the last character; which scope gives one depends on the ids' lengths.
    tokens = (mesh.token_of(tenant.client_id, tenant.client_secret, scope) for scope in ("", "payments.read"))
    token = next(token for token in tokens if len(token.removeprefix("sat_")) % 4)
    spare = alphabet[alphabet.index(token[-1]) ^ 1]  # the last bit is beyond the last byte
    for respelled in (token[:-1] + spare, token + "=", token + "==", token.upper(), "SAT_" + token[4:]):
        assert list_payments(mesh, respelled) == INVALID_TOKEN, respelled
    assert list_payments(mesh, token) == OK


def test_an_expired_token_is_refused(mesh: Mesh) -> None:
    expired = backstage.expired_token(mesh.home, mesh.home.folder("shops") / "master-credentials.json")
    request = application_pb.ListPartnerApplicationsRequest()
    assert mesh.attempt(mesh.applications.ListPartnerApplications, request, expired) == INVALID_TOKEN


def test_the_wrong_client_type_is_refused_and_told_so(mesh: Mesh, master: str, shop: str, tenant: Tenant) -> None:
    denied = ("PERMISSION_DENIED", "CLIENT_TYPE_NOT_ALLOWED")
    assert list_payments(mesh, master) == denied
    register = registration_pb.RegisterClientRequest(software_statement=tenant.software_statement, client_name="x")
    assert mesh.attempt(mesh.registration.RegisterClient, register, shop) == denied


def test_a_token_without_the_scope_is_refused_and_the_answer_names_it(mesh: Mesh, tenant: Tenant) -> None:
    reading = mesh.token_of(tenant.client_id, tenant.client_secret, "payments.read")
    with pytest.raises(grpc.RpcError) as refused:
        mesh.call(mesh.payments.CreatePayment, payment("pmc_x", jpy(1)), reading)
    assert outcome(refused.value) == ("PERMISSION_DENIED", "INSUFFICIENT_SCOPE")
    info = error_info(refused.value)
    assert (info.domain, dict(info.metadata)) == ("sekisho", {"scope": "payments.write"})


def test_a_private_token_is_worth_nothing_at_the_public_door(mesh: Mesh, shop: str) -> None:
    private = mesh.private_token(shop)
    payments = payment_grpc.PaymentServiceStub(mesh.inside("gateway", "payments"))
    metadata = [("authorization", f"Bearer {private}")]
    payments.ListPayments(payment_pb.ListPaymentsRequest(), metadata=metadata, timeout=20)  # good where it belongs
    assert list_payments(mesh, private) == INVALID_TOKEN
    with pytest.raises(grpc.RpcError) as refused:
        mesh.private_token(private)  # and never exchanged again
    assert outcome(refused.value) == INVALID_TOKEN


def test_headers_smuggle_nothing_in(mesh: Mesh, shop: str, tenant: Tenant) -> None:
    other = mesh.tenant()
    other_private = mesh.private_token(mesh.token_of(other.client_id, other.client_secret))
    wallet_id = mesh.wallet(1000)
    created = mesh.call(
        mesh.payments.CreatePayment,
        payment(mesh.payment_code(wallet_id, 1000), jpy(10)),
        shop,
        partner_id=other.partner_id,
        x_partner_id=other.partner_id,
        x_sekisho_partner_id=other.partner_id,
        x_sekisho_private_token=other_private,
        x_forwarded_authorization=f"Bearer {other_private}",
    )
    assert created.partner_id == tenant.partner_id
    assert list_payments(mesh, None, x_sekisho_private_token=other_private) == ("UNAUTHENTICATED", "MISSING_TOKEN")


# Methods and workloads


def test_internal_and_unknown_methods_are_answered_alike(mesh: Mesh, shop: str) -> None:
    answers = set()
    for path in ("/sekisho.auth.v1.ExchangeService/ExchangeToken", "/sekisho.payments.v1.PaymentService/Nothing"):
        with pytest.raises(grpc.RpcError) as refused:
            mesh.gateway.unary_unary(path)(b"", metadata=[("authorization", f"Bearer {shop}")], timeout=20)
        answers.add((*outcome(refused.value), refused.value.details()))
    assert len(answers) == 1
    assert answers.pop()[:2] == ("UNIMPLEMENTED", "METHOD_NOT_FOUND")


@pytest.mark.parametrize("workload", ["payments", "supervisor", "authserver"])
def test_a_workload_that_may_not_call_a_method_is_refused(mesh: Mesh, shop: str, workload: str) -> None:
    with mesh.inside(workload, "authserver") as channel, pytest.raises(grpc.RpcError) as refused:
        exchange_grpc.ExchangeServiceStub(channel).ExchangeToken(exchange_request(shop), timeout=20)
    assert outcome(refused.value) == ("PERMISSION_DENIED", "WORKLOAD_NOT_ALLOWED")


@pytest.mark.parametrize("service", ["authserver", "payments"])
def test_without_a_workload_certificate_nobody_gets_inside(mesh: Mesh, service: str) -> None:
    listen = mesh.config(service)["server"]["listen"]
    credentials = grpc.ssl_channel_credentials((mesh.home.pki / "workload-ca.pem").read_bytes())
    options = [("grpc.ssl_target_name_override", tls.dns_name(service))]
    with grpc.secure_channel(listen, credentials, options) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


# Clients


def issue(mesh: Mesh, client_id: str, client_secret: str) -> tuple[tuple[str, str], str | None, float]:
    request = token_pb.IssueTokenRequest(
        grant_type="client_credentials", client_id=client_id, client_secret=client_secret
    )
    start = time.perf_counter()
    with pytest.raises(grpc.RpcError) as refused:
        mesh.call(mesh.tokens.IssueToken, request)
    return outcome(refused.value), refused.value.details(), time.perf_counter() - start


def test_a_wrong_secret_and_an_unknown_client_get_the_same_answer_in_the_same_time(mesh: Mesh, tenant: Tenant) -> None:
    wrong, unknown = [], []
    for _ in range(40):
        wrong.append(issue(mesh, tenant.client_id, "scs_wrong"))
        unknown.append(issue(mesh, "cli_unknown", "scs_wrong"))
    # All who are refused in these tests come from one address, so they are throttled, now one and now the other.
    words = {outcome: {each[1] for each in (*wrong, *unknown) if each[0] == outcome} for outcome in REFUSED}
    assert all(len(each) <= 1 for each in words.values())
    assert {each[0] for each in (*wrong, *unknown)} <= set(REFUSED)
    ratio = statistics.median(each[2] for each in wrong) / statistics.median(each[2] for each in unknown)
    assert 0.5 < ratio < 2  # a slow hash on one side only would be far outside, whatever the machine's noise


def test_who_fails_often_does_not_get_on_under_another_address_of_their_own_choice(mesh: Mesh) -> None:
    seen = []
    for number in range(12):
        request = token_pb.IssueTokenRequest(
            grant_type="client_credentials", client_id=f"cli_{number}", client_secret="scs_wrong"
        )
        seen.append(mesh.attempt(mesh.tokens.IssueToken, request, x_forwarded_for=f"203.0.113.{number}"))
    assert seen[-1] == ("RESOURCE_EXHAUSTED", "TOO_MANY_FAILURES")


def test_a_rotated_secret_is_dead_at_once(mesh: Mesh, master: str) -> None:
    rotated = mesh.tenant(master)
    token = mesh.token_of(rotated.client_id, rotated.client_secret)
    request = registration_pb.RotateClientSecretRequest(client_id=rotated.client_id)
    secret = mesh.call(mesh.registration.RotateClientSecret, request, master).client_secret
    refused = issue(mesh, rotated.client_id, rotated.client_secret)[0]
    assert refused in REFUSED
    assert list_payments(mesh, token) == INVALID_TOKEN
    assert list_payments(mesh, mesh.token_of(rotated.client_id, secret)) == OK


# Software statements


def statement(mesh: Mesh, key: signed_jwt.SigningKey, **claims: object) -> str:
    """Sign a statement that is good but for the claims given."""
    now = int(time.time())
    good = {
        "iss": mesh.config("payments")["statement_issuer"],
        "aud": mesh.config("authserver")["issuer"],
        "iat": now,
        "exp": now + 600,
        "jti": f"app_{uuid.uuid4().hex}",
        "partner_id": f"ptn_{uuid.uuid4().hex}",
        "platform_id": "shops",
    }
    return signed_jwt.sign(key, "software-statement+jwt", {**good, **claims})


def register(mesh: Mesh, master: str, software_statement: str) -> tuple[str, str]:
    request = registration_pb.RegisterClientRequest(software_statement=software_statement, client_name="A Shop")
    return mesh.attempt(mesh.registration.RegisterClient, request, master)


def test_software_statements_that_prove_nothing_are_refused(mesh: Mesh, master: str) -> None:
    genuine = signed_jwt.SigningKey.from_pem((mesh.home.folder("payments") / "statement-key.pem").read_bytes())
    forged = signed_jwt.SigningKey.from_pem(signed_jwt.create_pem())
    invalid = ("INVALID_ARGUMENT", "INVALID_SOFTWARE_STATEMENT")
    assert register(mesh, master, "") == invalid
    assert register(mesh, master, statement(mesh, forged)) == invalid
    assert register(mesh, master, statement(mesh, genuine, exp=int(time.time()) - 60)) == invalid
    assert register(mesh, master, statement(mesh, genuine, aud="https://elsewhere")) == invalid
    assert register(mesh, master, statement(mesh, genuine, iss="https://elsewhere")) == invalid
    unapproved = ("PERMISSION_DENIED", "UNAPPROVED_SOFTWARE_STATEMENT")
    assert register(mesh, master, statement(mesh, genuine, platform_id="another")) == unapproved
    assert register(mesh, master, statement(mesh, genuine)) == OK  # each refusal was for what it changed


def test_a_software_statement_registers_one_client(mesh: Mesh, master: str, tenant: Tenant) -> None:
    request = registration_pb.RegisterClientRequest(software_statement=tenant.software_statement, client_name="A Shop")
    with pytest.raises(grpc.RpcError) as refused:
        mesh.call(mesh.registration.RegisterClient, request, master)
    assert outcome(refused.value) == ("ALREADY_EXISTS", "SOFTWARE_STATEMENT_USED")
    assert error_info(refused.value).metadata["client_id"] == tenant.client_id


# Platforms and partners


def test_platforms_neither_see_nor_touch_each_other(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> None:
    master, rival = mesh.token("master"), mesh.rival(tmp_path_factory.mktemp("rival"))
    ours, theirs = mesh.tenant(master), mesh.tenant(rival)
    for token, foreign in ((rival, ours), (master, theirs)):
        get = application_pb.GetPartnerApplicationRequest(application_id=foreign.application_id)
        got = mesh.attempt(mesh.applications.GetPartnerApplication, get, token)
        assert got == ("NOT_FOUND", "APPLICATION_NOT_FOUND")
        client = registration_pb.GetClientRequest(client_id=foreign.client_id)
        assert mesh.attempt(mesh.registration.GetClient, client, token) == ("NOT_FOUND", "CLIENT_NOT_FOUND")
        rotate = registration_pb.RotateClientSecretRequest(client_id=foreign.client_id)
        assert mesh.attempt(mesh.registration.RotateClientSecret, rotate, token) == ("NOT_FOUND", "CLIENT_NOT_FOUND")
        assert register(mesh, token, foreign.software_statement)[1] == "UNAPPROVED_SOFTWARE_STATEMENT"
        assert list_payments(mesh, mesh.token_of(foreign.client_id, foreign.client_secret)) == OK  # untouched
    listed = mesh.call(
        mesh.applications.ListPartnerApplications, application_pb.ListPartnerApplicationsRequest(), rival
    )
    assert [each.application_id for each in listed.applications] == [theirs.application_id]


def test_a_partner_cannot_touch_anothers_payment(mesh: Mesh, shop: str) -> None:
    other = mesh.tenant()
    token = mesh.token_of(other.client_id, other.client_secret)
    wallet_id = mesh.wallet(1000)
    created = mesh.call(mesh.payments.CreatePayment, payment(mesh.payment_code(wallet_id, 1000), jpy(700)), token)
    missing = ("NOT_FOUND", "PAYMENT_NOT_FOUND")
    get = payment_pb.GetPaymentRequest(payment_id=created.payment_id)
    refund = payment_pb.RefundPaymentRequest(request_id=str(uuid.uuid4()), payment_id=created.payment_id)
    cancel = payment_pb.CancelPaymentRequest(request_id=str(uuid.uuid4()), payment_id=created.payment_id)
    capture = payment_pb.CapturePaymentRequest(request_id=str(uuid.uuid4()), payment_id=created.payment_id)
    assert mesh.attempt(mesh.payments.GetPayment, get, shop) == missing
    assert mesh.attempt(mesh.payments.RefundPayment, refund, shop) == missing
    assert mesh.attempt(mesh.payments.CancelPayment, cancel, shop) == missing
    assert mesh.attempt(mesh.payments.CapturePayment, capture, shop) == missing
    assert mesh.call(mesh.payments.GetPayment, get, token).refunded_amount.minor_units == 0


# Money


def test_a_payment_code_works_once_up_to_its_limit_until_it_expires(mesh: Mesh, shop: str) -> None:
    wallet_id = mesh.wallet(10_000)
    create = mesh.payments.CreatePayment
    code = mesh.payment_code(wallet_id, 500)
    too_small = ("FAILED_PRECONDITION", "PAYMENT_CODE_LIMIT_EXCEEDED")
    assert mesh.attempt(create, payment(code, jpy(501)), shop) == too_small
    assert mesh.attempt(create, payment(code, jpy(500)), shop) == OK  # a refused payment does not use the code up
    assert mesh.attempt(create, payment(code, jpy(1)), shop) == ("FAILED_PRECONDITION", "PAYMENT_CODE_USED")
    assert mesh.attempt(create, payment("pmc_unknown", jpy(1)), shop) == ("NOT_FOUND", "PAYMENT_CODE_NOT_FOUND")
    issuing = wallet_pb.IssuePaymentCodeRequest(wallet_id=wallet_id, limit=jpy(500))
    issuing.ttl.FromMilliseconds(1)
    brief = mesh.call(mesh.wallets.IssuePaymentCode, issuing, mesh.token("wallet"))
    while time.time() <= brief.expire_time.ToMilliseconds() / 1000:
        pass
    expired = ("FAILED_PRECONDITION", "PAYMENT_CODE_EXPIRED")
    assert mesh.attempt(create, payment(brief.payment_code, jpy(1)), shop) == expired
    assert wallet_balance(mesh, wallet_id) == 9_500


def test_a_wallet_without_funds_pays_nothing(mesh: Mesh, shop: str) -> None:
    wallet_id = mesh.wallet(100)
    code = mesh.payment_code(wallet_id, 1000)
    refused = ("FAILED_PRECONDITION", "INSUFFICIENT_FUNDS")
    assert mesh.attempt(mesh.payments.CreatePayment, payment(code, jpy(101)), shop) == refused
    assert wallet_balance(mesh, wallet_id) == 100


@pytest.mark.parametrize("yen", [0, -1, 10**12 + 1, 2**63 - 1, -(2**63)])
def test_an_amount_out_of_range_is_refused(mesh: Mesh, shop: str, yen: int) -> None:
    wallet_id = mesh.wallet(100)
    code = mesh.payment_code(wallet_id, 100)
    assert mesh.attempt(mesh.payments.CreatePayment, payment(code, jpy(yen)), shop) == INVALID_REQUEST
    top_up = wallet_pb.TopUpWalletRequest(request_id=str(uuid.uuid4()), wallet_id=wallet_id, amount=jpy(yen))
    assert mesh.attempt(mesh.wallets.TopUpWallet, top_up, mesh.token("wallet")) == INVALID_REQUEST
    assert wallet_balance(mesh, wallet_id) == 100


@pytest.mark.parametrize("currency", ["", "XXX", "jpy", "JP", "YEN", "J\u0000Y"])
def test_an_unknown_currency_is_refused(mesh: Mesh, shop: str, currency: str) -> None:
    amount = Money(currency_code=currency, minor_units=1)
    assert mesh.attempt(mesh.payments.CreatePayment, payment("pmc_x", amount), shop) == INVALID_REQUEST
    opening = wallet_pb.OpenWalletRequest(request_id=str(uuid.uuid4()), currency_code=currency)
    assert mesh.attempt(mesh.wallets.OpenWallet, opening, mesh.token("wallet")) == INVALID_REQUEST


def test_the_same_request_id_has_one_effect_and_takes_no_other_body(mesh: Mesh, shop: str) -> None:
    wallet_id = mesh.wallet(1000)
    code = mesh.payment_code(wallet_id, 1000)
    request = payment(code, jpy(300))
    first = mesh.call(mesh.payments.CreatePayment, request, shop)
    assert mesh.call(mesh.payments.CreatePayment, request, shop) == first
    reused = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert mesh.attempt(mesh.payments.CreatePayment, payment(code, jpy(301), request.request_id), shop) == reused
    refund = payment_pb.RefundPaymentRequest(request_id=request.request_id, payment_id=first.payment_id)
    assert mesh.attempt(mesh.payments.RefundPayment, refund, shop) == reused
    assert wallet_balance(mesh, wallet_id) == 700
