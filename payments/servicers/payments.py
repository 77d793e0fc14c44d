"""`sekisho.payments.v1.PaymentService`."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

from sqlalchemy import Connection

from mesh.calls.wrapping import Context
from mesh.errors import InvalidRequest
from mesh.ids import new_id
from mesh.interceptors.private_token import current_caller
from mesh.serving.fields import Fields
from mesh.serving.paging import parse_page
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from payments.change_payment import cancel_payment, capture_payment, refund_payment
from payments.create_payment import NewPayment, create_payment
from payments.money import Money
from payments.once import IdentifiedRequest, once
from payments.payment_states import Payment
from payments.servicers.cursors import decode_cursor, encode_cursor, invalid_cursor
from payments.servicers.messages import (
    change_message,
    check_id,
    money_message,
    optional_amount,
    payment_message,
    required_amount,
)
from payments.store.events import count_events, list_events
from payments.store.ledger import balances_of_partner
from payments.store.payments import get_payment, list_payments
from payments.watches import Watch, Watches
from sekisho.payments.v1 import payment_service_pb2 as pb
from sekisho.payments.v1 import payment_service_pb2_grpc as pb_grpc

_CODE_LENGTH = 64
_DESCRIPTION_LENGTH = 200
_EVENTS_AT_ONCE = 100

_PartRequest: TypeAlias = pb.CapturePaymentRequest | pb.RefundPaymentRequest
_StepRequest: TypeAlias = _PartRequest | pb.CancelPaymentRequest


class _PartStep(Protocol):
    """Captures or refunds a payment, or part of it."""

    def __call__(
        self,
        connection: Connection,
        partner_id: str,
        payment_id: str,
        amount: Money | None,
        *,
        now: int,
        new_id: Callable[[str], str],
    ) -> Payment: ...


class PaymentServiceServicer(pb_grpc.PaymentServiceServicer):
    """Takes payments for the partner that the caller's token names.

    Args:
        database: Where they are kept.
        fee_basis_points: The fee on new payments, in hundredths of a percent.
        clock: Seconds since the epoch.
        watches: Those of this server.
        heartbeat_seconds: How long a watch may be silent.

    """

    def __init__(
        self,
        database: Database,
        fee_basis_points: int,
        clock: Callable[[], float],
        watches: Watches,
        heartbeat_seconds: float,
    ) -> None:
        self._database = database
        self._watches = watches
        self._heartbeat_seconds = heartbeat_seconds
        self._fee_basis_points = fee_basis_points
        self._clock = clock

    async def CreatePayment(self, request: pb.CreatePaymentRequest, _context: Context) -> pb.Payment:
        """Authorize a payment against a payment code, and capture it if asked to."""
        partner_id = current_caller().partner_id
        fields = Fields()
        fields.request_id(request.request_id)
        fields.identifier("payment_code", request.payment_code, max_length=_CODE_LENGTH)
        fields.text("description", request.description, max_length=_DESCRIPTION_LENGTH, required=False)
        amount = required_amount(fields, "amount", request)
        fields.done()
        asked = NewPayment(
            partner_id=partner_id,
            payment_code=request.payment_code,
            amount=amount,
            capture=request.capture,
            description=request.description,
            fee_basis_points=self._fee_basis_points,
        )
        return await self._once(
            partner_id, request, lambda connection, now: create_payment(connection, asked, now=now, new_id=new_id)
        )

    async def CapturePayment(self, request: pb.CapturePaymentRequest, _context: Context) -> pb.Payment:
        """Take an authorized amount, or part of it."""
        return await self._part(request, capture_payment)

    async def CancelPayment(self, request: pb.CancelPaymentRequest, _context: Context) -> pb.Payment:
        """Give an authorized amount back."""
        partner_id = current_caller().partner_id
        _step_fields(request).done()
        return await self._once(
            partner_id,
            request,
            lambda connection, now: cancel_payment(connection, partner_id, request.payment_id, now=now, new_id=new_id),
        )

    async def RefundPayment(self, request: pb.RefundPaymentRequest, _context: Context) -> pb.Payment:
        """Pay a captured amount back, or part of it."""
        return await self._part(request, refund_payment)

    async def GetPayment(self, request: pb.GetPaymentRequest, _context: Context) -> pb.Payment:
        """Get one payment."""
        partner_id = current_caller().partner_id
        fields = Fields()
        check_id(fields, "payment_id", request.payment_id)
        fields.done()
        payment = await self._database.read(lambda connection: get_payment(connection, partner_id, request.payment_id))
        return payment_message(payment)

    async def ListPayments(self, request: pb.ListPaymentsRequest, _context: Context) -> pb.ListPaymentsResponse:
        """List the partner's payments, the newest first."""
        partner_id = current_caller().partner_id
        page = parse_page(request.page_size, request.page_token)
        rows = await self._database.read(lambda connection: list_payments(connection, partner_id, page))
        rows, next_page_token = page.cut(rows, "payment_id")
        return pb.ListPaymentsResponse(payments=map(payment_message, rows), next_page_token=next_page_token)

    # A coroutine that writes, not a generator that yields: a call that is canceled while the client takes nothing would
    # leave a generator open until it is collected.
    async def WatchPayments(  # type: ignore[override]  # grpc.aio takes both; the generated type knows one
        self, request: pb.WatchPaymentsRequest, context: Context
    ) -> None:
        """Send every change after the cursor, and then each new one, until the caller ends the call."""
        partner_id = current_caller().partner_id
        if request.from_now and request.cursor:
            raise InvalidRequest({"from_now": "must not be set together with a cursor"})
        position = decode_cursor(partner_id, request.cursor)
        with self._watches.open(partner_id, position) as watch:
            counts = await self._database.read(lambda connection: count_events(connection, [partner_id]))
            newest = counts.get(partner_id, 0)
            if position > newest:
                raise invalid_cursor()
            if request.from_now:
                watch.position = newest
            while True:
                await context.write(pb.WatchPaymentsResponse(cursor=encode_cursor(partner_id, watch.position)))
                await self._send_while_there_is_news(partner_id, watch, context)

    async def GetBalance(self, _request: pb.GetBalanceRequest, _context: Context) -> pb.Balance:
        """Get what the payment company owes the partner."""
        partner_id = current_caller().partner_id
        amounts = await self._database.read(lambda connection: balances_of_partner(connection, partner_id))
        return pb.Balance(amounts=map(money_message, amounts))

    async def _part(self, request: _PartRequest, step: _PartStep) -> pb.Payment:
        """Take a step with the amount that the request asks for, or with all there is."""
        partner_id = current_caller().partner_id
        fields = _step_fields(request)
        amount = optional_amount(fields, "amount", request)
        fields.done()
        return await self._once(
            partner_id,
            request,
            lambda connection, now: step(connection, partner_id, request.payment_id, amount, now=now, new_id=new_id),
        )

    async def _once(
        self, partner_id: str, request: IdentifiedRequest, step: Callable[[Connection, int], Payment]
    ) -> pb.Payment:
        """Take a step of a payment, at the time in milliseconds that it is handed; or give the answer that it got."""
        answer = await once(
            self._database,
            partner_id,
            request,
            pb.Payment,
            lambda connection: payment_message(step(connection, to_ms(self._clock()))),
        )
        self._watches.wake(partner_id)
        return answer

    async def _send_while_there_is_news(self, partner_id: str, watch: Watch, context: Context) -> None:
        """Send events as they come. Return once the client was sent nothing for as long as it is to wait."""
        loop = asyncio.get_running_loop()
        silent_until = loop.time() + self._heartbeat_seconds
        while await watch.news(silent_until):
            if await self._send_events(partner_id, watch, context):
                silent_until = loop.time() + self._heartbeat_seconds

    async def _send_events(self, partner_id: str, watch: Watch, context: Context) -> bool:
        """Send the next events, each once the client has taken those before; there may be more afterwards.

        Return whether there were any.
        """
        events = await self._database.read(
            lambda connection: list_events(connection, partner_id, watch.position, _EVENTS_AT_ONCE)
        )
        for event in events:
            await context.write(change_message(encode_cursor(partner_id, event.sequence), event.payment))
            watch.position = event.sequence
        if len(events) == _EVENTS_AT_ONCE:
            watch.wake()
        return bool(events)


def _step_fields(request: _StepRequest) -> Fields:
    fields = Fields()
    fields.request_id(request.request_id)
    check_id(fields, "payment_id", request.payment_id)
    return fields
