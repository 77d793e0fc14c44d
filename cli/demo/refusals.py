"""The part of the story in which everything is refused that must be."""

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.demo import backstage
from cli.demo.cast import Cast, StoryFailed, Stubs
from cli.home import Home, MeshAddresses
from cli.wire import token_request
from sekisho.auth.v1 import client_registration_service_pb2 as registration_pb
from sekisho.auth.v1 import exchange_service_pb2, token_service_pb2
from sekisho.payments.v1 import partner_application_service_pb2 as application_pb
from sekisho.payments.v1 import partner_review_service_pb2 as review_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that must be refused.

    Attributes:
        title: What is tried.
        method: The method of a stub.
        request: The request.
        token: The bearer token presented, if any.
        status: The status that must come back.
        reason: The reason that must come back.

    """

    title: str
    method: Any
    request: Any
    token: str | None
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Tenant:
    """A second shop, registered by hand: what a platform holds of one.

    Attributes:
        application_id: Its approved application.
        software_statement: The statement that registered it.
        client_id: Its client.
        client_secret: Its secret.

    """

    application_id: str
    software_statement: str
    client_id: str
    client_secret: str = field(repr=False)


class Refusals:
    """Tries what must not work.

    Args:
        home: Where the mesh lives.
        addresses: Where it answers.
        stubs: What to call.
        cast: Who calls.

    """

    def __init__(self, home: Home, addresses: MeshAddresses, stubs: Stubs, cast: Cast) -> None:
        self._home = home
        self._addresses = addresses
        self._stubs = stubs
        self._cast = cast

    async def attempt_all(self, foreign_payment_id: str) -> list[dict[str, str]]:
        """Try everything; return a row for each refusal.

        Args:
            foreign_payment_id: A payment of another shop.

        Raises:
            StoryFailed: If something is let through, or refused in another way.

        """
        master = await self._token(self._addresses.master_credentials)
        tenant = await self._register_tenant(master)
        shop = await self._tenant_token(tenant)
        refusals = [
            *self._wrong_tokens(shop),
            *self._wrong_client_types(master, shop, tenant),
            *await self._foreign_things(shop, tenant, foreign_payment_id),
        ]
        rows = [await self._attempt(refusal) for refusal in refusals]
        return [*rows, await self._attempt(await self._revoked(master, tenant))]  # last: it ends the tenant's tokens

    def _wrong_tokens(self, shop: str) -> Sequence[Refusal]:
        method, request = self._stubs.payments.ListPayments, payment_pb.ListPaymentsRequest()
        changed = shop[:-1] + ("A" if shop[-1] != "A" else "B")
        expired = backstage.expired_token(self._home, self._addresses.master_credentials)
        tried = [
            ("a payment without a token", None, "MISSING_TOKEN"),
            ("a token that is garbage", "garbage", "INVALID_TOKEN"),
            ("a token with one character changed", changed, "INVALID_TOKEN"),
            ("an expired token", expired, "INVALID_TOKEN"),
        ]
        return [Refusal(title, method, request, token, "UNAUTHENTICATED", reason) for title, token, reason in tried]

    def _wrong_client_types(self, master: str, shop: str, tenant: _Tenant) -> Sequence[Refusal]:
        register = registration_pb.RegisterClientRequest(
            software_statement=tenant.software_statement, client_name="a shop's own attempt"
        )
        pay = payment_pb.CreatePaymentRequest(request_id=str(uuid.uuid4()))
        exchange = exchange_service_pb2.ExchangeTokenRequest(subject_token=shop, audience="payments")
        denied = ("PERMISSION_DENIED", "CLIENT_TYPE_NOT_ALLOWED")
        registration = self._stubs.registration.RegisterClient
        return [
            Refusal("a shop's token on Dynamic Client Registration", registration, register, shop, *denied),
            Refusal("the Master Client's token on a payment", self._stubs.payments.CreatePayment, pay, master, *denied),
            Refusal(
                "a method that no rule names",
                self._stubs.exchange.ExchangeToken,
                exchange,
                shop,
                "UNIMPLEMENTED",
                "METHOD_NOT_FOUND",
            ),
            Refusal(
                "a software statement used again",
                registration,
                register,
                master,
                "ALREADY_EXISTS",
                "SOFTWARE_STATEMENT_USED",
            ),
        ]

    async def _foreign_things(self, shop: str, tenant: _Tenant, foreign_payment_id: str) -> Sequence[Refusal]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rival.json"
            backstage.provision_rival(self._home, file)
            rival = await self._token(file)
        return [
            Refusal(
                "another shop's payment",
                self._stubs.payments.GetPayment,
                payment_pb.GetPaymentRequest(payment_id=foreign_payment_id),
                shop,
                "NOT_FOUND",
                "PAYMENT_NOT_FOUND",
            ),
            Refusal(
                "another platform's application",
                self._stubs.applications.GetPartnerApplication,
                application_pb.GetPartnerApplicationRequest(application_id=tenant.application_id),
                rival,
                "NOT_FOUND",
                "APPLICATION_NOT_FOUND",
            ),
            Refusal(
                "another platform's client",
                self._stubs.registration.GetClient,
                registration_pb.GetClientRequest(client_id=tenant.client_id),
                rival,
                "NOT_FOUND",
                "CLIENT_NOT_FOUND",
            ),
            Refusal(
                "another platform's software statement",
                self._stubs.registration.RegisterClient,
                registration_pb.RegisterClientRequest(
                    software_statement=tenant.software_statement, client_name="a rival's attempt"
                ),
                rival,
                "PERMISSION_DENIED",
                "UNAPPROVED_SOFTWARE_STATEMENT",
            ),
        ]

    async def _revoked(self, master: str, tenant: _Tenant) -> Refusal:
        token = await self._tenant_token(tenant)
        rotation = registration_pb.RotateClientSecretRequest(client_id=tenant.client_id)
        await self._cast.call("platform", self._stubs.registration.RotateClientSecret, rotation, master)
        request = payment_pb.ListPaymentsRequest()
        method = self._stubs.payments.ListPayments
        return Refusal(
            "a token taken with a secret since replaced", method, request, token, "UNAUTHENTICATED", "INVALID_TOKEN"
        )

    async def _attempt(self, refusal: Refusal) -> dict[str, str]:
        answer = await self._cast.attempt("stranger", refusal.method, refusal.request, refusal.token)
        if (answer.status, answer.reason) != (refusal.status, refusal.reason):
            expected = f"{refusal.status} {refusal.reason}"
            raise StoryFailed(f"{refusal.title}: {answer.status} {answer.reason} instead of {expected}")
        return {"tried": refusal.title, "status": answer.status, "reason": answer.reason}

    async def _register_tenant(self, master: str) -> _Tenant:
        submit = application_pb.SubmitPartnerApplicationRequest(
            request_id=str(uuid.uuid4()),
            merchant_name="Second Shop",
            contact_email="second@example.com",
            business_description="Sandals",
        )
        submitted = await self._cast.call("platform", self._stubs.applications.SubmitPartnerApplication, submit, master)
        operator = await self._token(self._addresses.operator_credentials)
        approve = review_pb.ApprovePartnerApplicationRequest(application_id=submitted.application_id)
        await self._cast.call("operator", self._stubs.reviews.ApprovePartnerApplication, approve, operator)
        get = application_pb.GetPartnerApplicationRequest(application_id=submitted.application_id)
        approved = await self._cast.call("platform", self._stubs.applications.GetPartnerApplication, get, master)
        register = registration_pb.RegisterClientRequest(
            software_statement=approved.software_statement, client_name="Second Shop"
        )
        registered = await self._cast.call("platform", self._stubs.registration.RegisterClient, register, master)
        return _Tenant(
            approved.application_id, approved.software_statement, registered.client.client_id, registered.client_secret
        )

    async def _tenant_token(self, tenant: _Tenant) -> str:
        request = token_service_pb2.IssueTokenRequest(
            grant_type="client_credentials", client_id=tenant.client_id, client_secret=tenant.client_secret
        )
        return str((await self._cast.call("platform", self._stubs.tokens.IssueToken, request)).access_token)

    async def _token(self, credentials: Path) -> str:
        issued = await self._cast.call("platform", self._stubs.tokens.IssueToken, token_request(credentials))
        return str(issued.access_token)
