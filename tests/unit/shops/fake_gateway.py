"""A payment company in one small TLS server, as the marketplace sees it through the gateway; it can be made to fail."""

# ruff: noqa: N802 - methods are named by the contracts

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from mesh.calls.wrapping import Context
from mesh.config import ChannelConfig
from mesh.security import pki
from sekisho.auth.v1 import client_registration_service_pb2 as registration
from sekisho.auth.v1 import client_registration_service_pb2_grpc as registration_grpc
from sekisho.auth.v1 import token_service_pb2, token_service_pb2_grpc
from sekisho.payments.v1 import partner_application_pb2 as applications
from sekisho.payments.v1 import partner_application_service_pb2 as application_service
from sekisho.payments.v1 import partner_application_service_pb2_grpc as application_grpc
from sekisho.payments.v1 import payment_service_pb2 as payments
from sekisho.payments.v1 import payment_service_pb2_grpc as payments_grpc

MASTER_ID, MASTER_SECRET = "cli_master", "scs_master"
GOOD_CODE = "pmc_good-payment-code"

M = TypeVar("M", bound=Message)
Application = applications.PartnerApplication


@dataclass(frozen=True)
class Refusal(Exception):
    code: grpc.StatusCode
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    # Whether the call takes effect all the same: what is lost then is only its answer.
    after_effect: bool = False


UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE)
LOST_ANSWER = Refusal(grpc.StatusCode.UNAVAILABLE, after_effect=True)


@dataclass(frozen=True)
class Call:
    method: str
    client_id: str
    request_id: str
    order_id: str = ""


async def _abort_unimplemented(_self: object, _request: Message, context: Context) -> NoReturn:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the marketplace does not call this")


_unimplemented: Any = _abort_unimplemented  # fits every method


class FakeGateway(
    token_service_pb2_grpc.TokenServiceServicer,
    registration_grpc.ClientRegistrationServiceServicer,
    application_grpc.PartnerApplicationServiceServicer,
    payments_grpc.PaymentServiceServicer,
):
    """What it was asked is in `calls`; what it is to answer next, method by method, goes into `next_refusals`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.calls: list[Call] = []
        self.next_refusals: defaultdict[str, deque[Refusal]] = defaultdict(deque)
        self.secrets = {MASTER_ID: MASTER_SECRET}
        self.tokens: dict[str, str] = {}
        self.expires_in = 600
        self.applications: dict[str, Application] = {}
        self.clients_of_statements: dict[str, str] = {}
        self.payments: dict[str, payments.Payment] = {}
        self.refunds: set[str] = set()
        self.before_payment: Callable[[], object] = lambda: None
        self._payments_open = asyncio.Event()
        self._payments_open.set()
        self._numbers = itertools.count(1)
        self._server: grpc.aio.Server | None = None

    @property
    def channel_config(self) -> ChannelConfig:
        return ChannelConfig(target=f"127.0.0.1:{self.port}", ca=self.folder / "public-ca.pem")

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = grpc.aio.server()
        token_service_pb2_grpc.add_TokenServiceServicer_to_server(self, self._server)
        registration_grpc.add_ClientRegistrationServiceServicer_to_server(self, self._server)
        application_grpc.add_PartnerApplicationServiceServicer_to_server(self, self._server)
        payments_grpc.add_PaymentServiceServicer_to_server(self, self._server)
        key, certificate = self.folder / "gateway-key.pem", self.folder / "gateway.pem"
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(None)
        self._server = None

    def decide(self, state: "Application.State.ValueType", rejection_reason: str = "") -> None:
        for application in self.applications.values():
            application.state = state
            application.partner_id = f"ptn_{application.application_id}" if state == Application.APPROVED else ""
            application.rejection_reason = rejection_reason

    def hold_payments(self) -> Callable[[], object]:
        """Let payments wait; return what lets them go on. Both may be called from any thread."""
        self._payments_open.clear()
        return lambda: self._loop.call_soon_threadsafe(self._payments_open.set)

    def called(self, method: str) -> int:
        return sum(call.method == method for call in self.calls)

    # -- TokenService

    async def IssueToken(
        self, request: token_service_pb2.IssueTokenRequest, context: Context
    ) -> token_service_pb2.IssueTokenResponse:
        def effect() -> token_service_pb2.IssueTokenResponse:
            if self.secrets.get(request.client_id) != request.client_secret:
                raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "INVALID_CLIENT")
            token = f"sat_{next(self._numbers)}"
            self.tokens[token] = request.client_id
            return token_service_pb2.IssueTokenResponse(
                access_token=token, token_type="Bearer", expires_in=self.expires_in
            )

        return await self._answer("IssueToken", context, effect, public=True)

    # -- PartnerApplicationService

    async def SubmitPartnerApplication(
        self, request: application_service.SubmitPartnerApplicationRequest, context: Context
    ) -> Application:
        def effect() -> Application:
            known = self.applications.get(request.request_id)
            application = known or Application(
                application_id=f"app_{next(self._numbers)}",
                state=Application.PENDING,
                merchant_name=request.merchant_name,
                contact_email=request.contact_email,
                business_description=request.business_description,
            )
            self.applications[request.request_id] = application
            return application

        return await self._answer("SubmitPartnerApplication", context, effect)

    async def GetPartnerApplication(
        self, request: application_service.GetPartnerApplicationRequest, context: Context
    ) -> Application:
        def effect() -> Application:
            answer = Application()
            answer.CopyFrom(next(a for a in self.applications.values() if a.application_id == request.application_id))
            if answer.state == Application.APPROVED:
                answer.software_statement = f"statement of {answer.application_id}"
            return answer

        return await self._answer("GetPartnerApplication", context, effect)

    # -- ClientRegistrationService

    async def RegisterClient(
        self, request: registration.RegisterClientRequest, context: Context
    ) -> registration.RegisterClientResponse:
        def effect() -> registration.RegisterClientResponse:
            if used_by := self.clients_of_statements.get(request.software_statement):
                raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "SOFTWARE_STATEMENT_USED", {"client_id": used_by})
            client_id = f"cli_{next(self._numbers)}"
            self.clients_of_statements[request.software_statement] = client_id
            self.secrets[client_id] = f"scs_first-secret-{client_id}"
            return registration.RegisterClientResponse(
                client=registration.Client(client_id=client_id), client_secret=self.secrets[client_id]
            )

        return await self._answer("RegisterClient", context, effect)

    async def RotateClientSecret(
        self, request: registration.RotateClientSecretRequest, context: Context
    ) -> registration.RotateClientSecretResponse:
        def effect() -> registration.RotateClientSecretResponse:
            self.secrets[request.client_id] = f"scs_rotated-secret-{request.client_id}-{next(self._numbers)}"
            return registration.RotateClientSecretResponse(
                client=registration.Client(client_id=request.client_id), client_secret=self.secrets[request.client_id]
            )

        return await self._answer("RotateClientSecret", context, effect)

    # -- PaymentService

    async def CreatePayment(self, request: payments.CreatePaymentRequest, context: Context) -> payments.Payment:
        self.before_payment()
        await self._payments_open.wait()

        def effect() -> payments.Payment:
            if known := self.payments.get(request.request_id):
                return known
            if request.payment_code != GOOD_CODE or not request.capture:
                raise Refusal(grpc.StatusCode.NOT_FOUND, "PAYMENT_CODE_NOT_FOUND")
            payment = payments.Payment(payment_id=f"pay_{next(self._numbers)}", captured_amount=request.amount)
            self.payments[request.request_id] = payment
            return payment

        return await self._answer("CreatePayment", context, effect, order_id=request.request_id)

    async def RefundPayment(self, request: payments.RefundPaymentRequest, context: Context) -> payments.Payment:
        def effect() -> payments.Payment:
            self.refunds.add(request.request_id)
            return payments.Payment(payment_id=request.payment_id)

        return await self._answer("RefundPayment", context, effect)

    # What the marketplace never calls.
    CapturePayment = CancelPayment = GetPayment = ListPayments = GetBalance = _unimplemented
    ListPartnerApplications = GetClient = _unimplemented

    async def _answer(
        self, method: str, context: Context, effect: Callable[[], M], *, public: bool = False, order_id: str = ""
    ) -> M:
        metadata = dict(context.invocation_metadata() or ())
        token = str(metadata.get("authorization", "")).removeprefix("Bearer ")
        client_id = self.tokens.get(token, "")
        self.calls.append(Call(method, client_id, str(metadata.get("x-request-id", "")), order_id))
        try:
            if not client_id and not public:
                raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "INVALID_TOKEN")  # noqa: TRY301 - as the gateway would
            return self._outcome(method, effect)
        except Refusal as error:
            await context.abort(error.code, "refused", _details(error))

    def _outcome(self, method: str, effect: Callable[[], M]) -> M:
        queue = self.next_refusals[method]
        refusal = queue.popleft() if queue else None
        if refusal is None:
            return effect()
        if refusal.after_effect:
            effect()
        raise refusal


def _details(refusal: Refusal) -> tuple[tuple[str, bytes], ...]:
    if not refusal.reason:
        return ()
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason=refusal.reason, domain="sekisho", metadata=refusal.metadata))
    status = Status(code=refusal.code.value[0], message="refused", details=[detail])
    return (("grpc-status-details-bin", status.SerializeToString()),)


def issue_certificates(folder: Path) -> None:
    """Make a CA, and the certificates of the gateway's and the marketplace's public ports."""
    authority = pki.create_authority(folder, "public-ca")
    for name in ("gateway", "shops"):
        pki.issue_public(authority, folder, name)
