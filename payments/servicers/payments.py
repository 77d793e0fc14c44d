"""`sekisho.payments.v1.PaymentService`."""

from collections.abc import Callable
from typing import TypeAlias

from sqlalchemy import Connection

from mesh.database import Database
from mesh.fields import Fields
from mesh.ids import new_id
from mesh.interceptors.private_token import current_caller
from mesh.interceptors.wrapping import Context
from mesh.paging import parse_page
from mesh.timestamps import to_ms
from payments.cancel_payment import cancel_payment
from payments.capture_payment import capture_payment
from payments.create_payment import NewPayment, create_payment
from payments.payment_states import Payment
from payments.refund_payment import refund_payment
from payments.servicers.messages import check_id, money_message, optional_amount, payment_message, required_amount
from payments.servicers.once import IdentifiedRequest, once
from payments.store.ledger import balances_of_partner
from payments.store.payments import get_payment, list_payments
from sekisho.payments.v1 import payment_service_pb2 as pb
from sekisho.payments.v1 import payment_service_pb2_grpc as pb_grpc

_CODE_LENGTH = 64
_DESCRIPTION_LENGTH = 200

_StepRequest: TypeAlias = pb.CapturePaymentRequest | pb.CancelPaymentRequest | pb.RefundPaymentRequest


class PaymentServiceServicer(pb_grpc.PaymentServiceServicer):
    """Takes payments for the partner that the caller's token names.

    Args:
        database: Where they are kept.
        fee_basis_points: The fee on new payments, in hundredths of a percent.
        clock: Seconds since the epoch.

    """

    def __init__(self, database: Database, fee_basis_points: int, clock: Callable[[], float]) -> None:
        """Serve from a database."""
        self._database = database
        self._fee_basis_points = fee_basis_points
        self._clock = clock

    async def CreatePayment(self, request: pb.CreatePaymentRequest, _context: Context) -> pb.Payment:
        """Authorize a payment against a payment code, and capture it if asked to."""
        partner_id = current_caller().partner_id
        fields = Fields()
        fields.request_id(request.request_id)
        fields.text("payment_code", request.payment_code, most=_CODE_LENGTH)
        fields.text("description", request.description, most=_DESCRIPTION_LENGTH, required=False)
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
        partner_id = current_caller().partner_id
        fields = _step_fields(request)
        amount = optional_amount(fields, "amount", request)
        fields.done()
        return await self._once(
            partner_id,
            request,
            lambda connection, now: capture_payment(
                connection, partner_id, request.payment_id, amount, now=now, new_id=new_id
            ),
        )

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
        partner_id = current_caller().partner_id
        fields = _step_fields(request)
        amount = optional_amount(fields, "amount", request)
        fields.done()
        return await self._once(
            partner_id,
            request,
            lambda connection, now: refund_payment(
                connection, partner_id, request.payment_id, amount, now=now, new_id=new_id
            ),
        )

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

    async def GetBalance(self, _request: pb.GetBalanceRequest, _context: Context) -> pb.Balance:
        """Get what the payment company owes the partner."""
        partner_id = current_caller().partner_id
        amounts = await self._database.read(lambda connection: balances_of_partner(connection, partner_id))
        return pb.Balance(amounts=map(money_message, amounts))

    async def _once(
        self, partner_id: str, request: IdentifiedRequest, step: Callable[[Connection, int], Payment]
    ) -> pb.Payment:
        """Take a step of a payment, at the time in milliseconds that it is handed; or give the answer that it got."""
        return await once(
            self._database,
            partner_id,
            request,
            pb.Payment,
            lambda connection: payment_message(step(connection, to_ms(self._clock()))),
        )


def _step_fields(request: _StepRequest) -> Fields:
    fields = Fields()
    fields.request_id(request.request_id)
    check_id(fields, "payment_id", request.payment_id)
    return fields
