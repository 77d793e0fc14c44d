"""Takes the opening of a shop one step on: apply, wait for the review, register the shop's client.

Each step asks the payment company for something that may be asked again, and then records it in one transaction. So
whenever the process dies, the next one goes on from the row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from mesh.calls import request_id
from mesh.crash_points import crash_point
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from sekisho.auth.v1 import client_registration_service_pb2 as registration
from sekisho.payments.v1 import partner_application_pb2 as applications
from sekisho.payments.v1 import partner_application_service_pb2 as application_service
from shops.backoff import Backoff
from shops.credentials import Credentials
from shops.errors import GatewayError, UnexpectedAnswer
from shops.gateway_client import GatewayClient
from shops.opening_states import FINAL_STATES, OpeningState, after_review
from shops.sealed_secrets import SealedSecrets
from shops.store.shops import Shop, move_shop

_log = structlog.get_logger()

# No more than taking and refunding payments needs (least privilege).
_SCOPE = "payments.read payments.write"


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long to wait.

    Attributes:
        review: Between two looks at an application under review.
        failure: After a call that failed.

    """

    review: Backoff
    failure: Backoff


class Opening:
    """The steps. Calls the payment company as the platform itself, by its Master Client."""

    def __init__(
        self,
        database: Database,
        gateway: GatewayClient,
        master: Credentials,
        secrets: SealedSecrets,
        clock: Callable[[], float],
        pauses: Pauses,
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._master = master
        self._secrets = secrets
        self._clock = clock
        self._pauses = pauses
        self._steps = {
            OpeningState.APPLYING: self._apply,
            OpeningState.IN_REVIEW: self._review,
            OpeningState.REGISTERING: self._register,
        }

    async def step(self, shop: Shop) -> None:
        """Take one step, or find a later time for it: a shop is never given up because of a failure.

        Raises:
            DatabaseUnavailable: If the step could not be recorded; it is repeated then.

        """
        request_id.adopt(f"{shop.shop_id}.{shop.state.lower()}")
        log = _log.bind(shop_id=shop.shop_id, state=shop.state.value)
        try:
            crash_point("shops", shop.state, "call")
            after = await self._steps[shop.state](shop)
            crash_point("shops", shop.state, "record")
        except GatewayError as error:
            log.warning("a shop's opening is delayed", code=error.code, reason=error.reason, attempt=shop.attempts + 1)
            after = self._postponed(shop, self._pauses.failure)
        except Exception:  # whatever it was, the shop must be tried again, later
            log.exception("a shop's opening is delayed", attempt=shop.attempts + 1)
            after = self._postponed(shop, self._pauses.failure)
        moved = await self._database.run(partial(move_shop, before=shop.state, shop=after))
        if moved and after.state is not shop.state:
            log.info("a shop's opening went on", to=after.state.value)

    async def _apply(self, shop: Shop) -> Shop:
        request = application_service.SubmitPartnerApplicationRequest(
            request_id=shop.shop_id,
            merchant_name=shop.display_name,
            contact_email=shop.contact_email,
            business_description=shop.business_description,
        )
        try:
            method = self._gateway.applications.SubmitPartnerApplication
            application = await self._gateway.call(self._master, method, request)
        except GatewayError as error:
            if error.code != "INVALID_ARGUMENT":
                raise
            # The payment company is stricter about merchants' data than the marketplace: no repeat will change that.
            return replace(self._moved(shop, OpeningState.REJECTED), rejection_reason=error.message)
        if not application.application_id:
            raise UnexpectedAnswer("an application without an id")
        return replace(self._moved(shop, OpeningState.IN_REVIEW), application_id=application.application_id)

    async def _review(self, shop: Shop) -> Shop:
        application = await self._application(shop)
        state = after_review(applications.PartnerApplication.State.Name(application.state))
        if state is OpeningState.IN_REVIEW:
            return self._postponed(shop, self._pauses.review)
        if state is OpeningState.REJECTED:
            return replace(self._moved(shop, state), rejection_reason=application.rejection_reason)
        if state is None or not application.partner_id:
            raise UnexpectedAnswer("an application that is neither pending, approved nor rejected")
        return replace(self._moved(shop, state), partner_id=application.partner_id)

    async def _register(self, shop: Shop) -> Shop:
        # A software statement is good for a day only; this one is fresh.
        application = await self._application(shop)
        if not application.software_statement:
            raise UnexpectedAnswer("an approved application without a software statement")
        request = registration.RegisterClientRequest(
            software_statement=application.software_statement, client_name=shop.display_name, scope=_SCOPE
        )
        try:
            method = self._gateway.clients.RegisterClient
            answer = await self._gateway.call(self._master, method, request)
            client_id, secret = answer.client.client_id, answer.client_secret
        except GatewayError as error:
            client_id = error.metadata.get("client_id", "")
            if error.reason != "SOFTWARE_STATEMENT_USED" or not client_id:
                raise
            # An earlier answer was lost before it was recorded. Nobody has that secret; take a new one.
            secret = await self._new_secret(client_id)
        if not client_id or not secret:
            raise UnexpectedAnswer("a client without an id or a secret")
        sealed = self._secrets.seal_client_secret(shop.shop_id, secret)
        return replace(self._moved(shop, OpeningState.ACTIVE), client_id=client_id, sealed_client_secret=sealed)

    async def _application(self, shop: Shop) -> applications.PartnerApplication:
        request = application_service.GetPartnerApplicationRequest(application_id=shop.application_id or "")
        return await self._gateway.call(self._master, self._gateway.applications.GetPartnerApplication, request)

    async def _new_secret(self, client_id: str) -> str:
        request = registration.RotateClientSecretRequest(client_id=client_id)
        answer = await self._gateway.call(self._master, self._gateway.clients.RotateClientSecret, request)
        return answer.client_secret

    def _moved(self, shop: Shop, state: OpeningState) -> Shop:
        """Return the shop in its next state; the next step is due at once."""
        next_time = None if state in FINAL_STATES else to_ms(self._clock())
        return replace(shop, state=state, attempts=0, next_attempt_time=next_time)

    def _postponed(self, shop: Shop, pauses: Backoff) -> Shop:
        attempts = shop.attempts + 1
        next_time = to_ms(self._clock() + pauses.pause_seconds(attempts))
        return replace(shop, attempts=attempts, next_attempt_time=next_time)
