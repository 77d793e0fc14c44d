"""A whole mesh of real processes, and outsiders who call it."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import yaml
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from cli.home import Home
from mesh.security import tls
from sekisho.auth.v1 import client_registration_service_pb2 as registration_pb
from sekisho.auth.v1 import client_registration_service_pb2_grpc as registration_grpc
from sekisho.auth.v1 import exchange_service_pb2 as exchange_pb
from sekisho.auth.v1 import exchange_service_pb2_grpc as exchange_grpc
from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.auth.v1 import token_service_pb2_grpc as token_grpc
from sekisho.payments.v1 import ledger_service_pb2_grpc as ledger_grpc
from sekisho.payments.v1 import partner_application_service_pb2 as application_pb
from sekisho.payments.v1 import partner_application_service_pb2_grpc as application_grpc
from sekisho.payments.v1 import partner_review_service_pb2 as review_pb
from sekisho.payments.v1 import partner_review_service_pb2_grpc as review_grpc
from sekisho.payments.v1 import payment_service_pb2_grpc as payment_grpc
from sekisho.payments.v1 import wallet_service_pb2 as wallet_pb
from sekisho.payments.v1 import wallet_service_pb2_grpc as wallet_grpc
from sekisho.payments.v1.money_pb2 import Money
from sekisho.payments.v1.partner_application_pb2 import PartnerApplication

TIMEOUT_SECONDS = 20.0
OK = ("OK", "")


def sekisho(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the `sekisho` command to its end."""
    command = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@contextmanager
def mesh_up(home: Path, **options: object) -> Iterator["Mesh"]:
    """Run `sekisho up` in a home, with its options by their names; it must end cleanly."""
    command = [sys.executable, "-c", "from cli.main import main; main()", "up", "--home", str(home), "--port", "0"]
    with subprocess.Popen(
        [*command, "--json", *(f"--{name}={value}" for name, value in options.items() if value is not None)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stdout
        assert up.stderr
        line = up.stdout.readline()
        assert line, up.stderr.read()
        try:
            with Mesh(home, json.loads(line), up.pid) as mesh:
                yield mesh
        finally:
            up.send_signal(signal.SIGTERM)
            status = up.wait(timeout=60)
        assert status == 0, up.stderr.read()


def outcome(error: grpc.RpcError) -> tuple[str, str]:
    """Return status and `google.rpc.ErrorInfo` reason of a refusal."""
    return error.code().name, error_info(error).reason


def error_info(error: grpc.RpcError) -> ErrorInfo:
    """Return the `google.rpc.ErrorInfo` of a refusal, an empty one if there is none."""
    info = ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = Status.FromString(value).details
            assert any(detail.Unpack(info) for detail in details)
    return info


@dataclass(frozen=True)
class Tenant:
    """A shop that was registered by hand."""

    application_id: str
    partner_id: str
    software_statement: str
    client_id: str
    client_secret: str


class Mesh:
    """A mesh that is up, as seen from outside; each call is made with real TLS on a synchronous channel."""

    def __init__(self, home: Path, addresses: dict[str, str], pid: int) -> None:
        self.home = Home.at(home)
        self.addresses = addresses
        self.pid = pid
        self.ca = Path(addresses["ca"]).read_bytes()

    def __enter__(self) -> Self:
        self.gateway = self.channel(self.addresses["gateway"])
        self.shops = self.channel(self.addresses["shops"])
        self.tokens = token_grpc.TokenServiceStub(self.gateway)
        self.registration = registration_grpc.ClientRegistrationServiceStub(self.gateway)
        self.applications = application_grpc.PartnerApplicationServiceStub(self.gateway)
        self.reviews = review_grpc.PartnerReviewServiceStub(self.gateway)
        self.payments = payment_grpc.PaymentServiceStub(self.gateway)
        self.wallets = wallet_grpc.WalletServiceStub(self.gateway)
        self.ledger = ledger_grpc.LedgerServiceStub(self.gateway)
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.close()
        self.shops.close()

    def channel(self, address: str) -> grpc.Channel:
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(self.ca))

    def inside(self, workload: str, service: str) -> grpc.Channel:
        """Open a channel to a service inside the company, with a workload's certificate."""
        credentials = grpc.ssl_channel_credentials(
            (self.home.pki / "workload-ca.pem").read_bytes(),
            (self.home.pki / f"{workload}-key.pem").read_bytes(),
            (self.home.pki / f"{workload}.pem").read_bytes(),
        )
        options = [("grpc.ssl_target_name_override", tls.dns_name(service))]
        return grpc.secure_channel(self.config(service)["server"]["listen"], credentials, options)

    def private_token(self, access_token: str) -> str:
        """Exchange a token with the gateway's own certificate, as nobody outside could."""
        with self.inside("gateway", "authserver") as channel:
            stub = exchange_grpc.ExchangeServiceStub(channel)
            return str(stub.ExchangeToken(exchange_request(access_token), timeout=TIMEOUT_SECONDS).access_token)

    def call(self, method: Any, request: Any, token: str | None = None, **metadata: str) -> Any:
        """Call a method; a refusal is raised."""
        pairs = [(key.replace("_", "-"), value) for key, value in metadata.items()]
        if token is not None:
            pairs.append(("authorization", f"Bearer {token}"))
        return method(request, metadata=pairs, timeout=TIMEOUT_SECONDS)

    def attempt(self, method: Any, request: Any, token: str | None = None, **metadata: str) -> tuple[str, str]:
        """Call a method; return status and reason."""
        try:
            self.call(method, request, token, **metadata)
        except grpc.RpcError as error:
            return outcome(error)
        return OK

    def config(self, service: str) -> dict[str, Any]:
        """Return a service's configuration."""
        config: dict[str, Any] = yaml.safe_load(self.home.config(service).read_text())
        return config

    def credentials(self, who: str) -> tuple[str, str]:
        content = json.loads(Path(self.addresses[f"{who}_credentials"]).read_text())
        return content["client_id"], content["client_secret"]

    def token(self, who: str, scope: str = "") -> str:
        """Take a token for `master`, `operator` or `wallet`."""
        return self.token_of(*self.credentials(who), scope)

    def token_of(self, client_id: str, client_secret: str, scope: str = "") -> str:
        request = token_pb.IssueTokenRequest(
            grant_type="client_credentials", client_id=client_id, client_secret=client_secret, scope=scope
        )
        return str(self.call(self.tokens.IssueToken, request).access_token)

    def approved_application(self, master: str, merchant: str = "A Shop") -> PartnerApplication:
        submit = application_pb.SubmitPartnerApplicationRequest(
            request_id=str(uuid.uuid4()),
            merchant_name=merchant,
            contact_email="shop@example.com",
            business_description="Things",
        )
        submitted = self.call(self.applications.SubmitPartnerApplication, submit, master)
        approve = review_pb.ApprovePartnerApplicationRequest(application_id=submitted.application_id)
        self.call(self.reviews.ApprovePartnerApplication, approve, self.token("operator"))
        get = application_pb.GetPartnerApplicationRequest(application_id=submitted.application_id)
        approved: PartnerApplication = self.call(self.applications.GetPartnerApplication, get, master)
        return approved

    def tenant(self, master: str | None = None) -> Tenant:
        """Have a shop approved and its client registered."""
        master = master or self.token("master")
        approved = self.approved_application(master)
        register = registration_pb.RegisterClientRequest(
            software_statement=approved.software_statement, client_name="A Shop"
        )
        registered = self.call(self.registration.RegisterClient, register, master)
        return Tenant(
            application_id=approved.application_id,
            partner_id=approved.partner_id,
            software_statement=approved.software_statement,
            client_id=registered.client.client_id,
            client_secret=registered.client_secret,
        )

    def rival(self, folder: Path) -> str:
        """Provision another platform by the command line, and take its Master Client's token."""
        file = folder / f"{uuid.uuid4()}.json"
        platform_id = f"rival-{uuid.uuid4().hex[:8]}"
        created = sekisho(
            "clients", "create", "master", platform_id, "--credentials", str(file), "--home", str(self.home.path)
        )
        assert created.returncode == 0, created.stderr
        content = json.loads(file.read_text())
        return self.token_of(content["client_id"], content["client_secret"])

    def wallet(self, yen: int) -> str:
        """Open a wallet with an amount in it; return its id."""
        token = self.token("wallet")
        opening = wallet_pb.OpenWalletRequest(request_id=str(uuid.uuid4()), currency_code="JPY")
        wallet_id = str(self.call(self.wallets.OpenWallet, opening, token).wallet_id)
        if yen:
            request = wallet_pb.TopUpWalletRequest(request_id=str(uuid.uuid4()), wallet_id=wallet_id, amount=jpy(yen))
            self.call(self.wallets.TopUpWallet, request, token)
        return wallet_id

    def payment_code(self, wallet_id: str, limit: int) -> str:
        request = wallet_pb.IssuePaymentCodeRequest(wallet_id=wallet_id, limit=jpy(limit))
        return str(self.call(self.wallets.IssuePaymentCode, request, self.token("wallet")).payment_code)


def jpy(yen: int) -> Money:
    return Money(currency_code="JPY", minor_units=yen)


def exchange_request(access_token: str) -> exchange_pb.ExchangeTokenRequest:
    return exchange_pb.ExchangeTokenRequest(
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=access_token,
        subject_token_type="urn:ietf:params:oauth:token-type:access_token",
        audience="payments",
    )
