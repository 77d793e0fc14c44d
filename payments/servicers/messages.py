"""Plain values and their messages."""

from google.protobuf.message import Message

from mesh.serving.fields import Fields
from mesh.timestamps import timestamp
from payments.application_states import Application
from payments.money import Money, check_amount
from payments.payment_states import Payment
from payments.store.wallets import Wallet
from sekisho.payments.v1 import money_pb2, partner_application_pb2, payment_service_pb2, wallet_service_pb2

_ID_LENGTH = 40


def check_id(fields: Fields, field: str, value: str) -> None:
    """Check that a resource's id is given, and not absurd."""
    fields.identifier(field, value, max_length=_ID_LENGTH)


def required_amount(fields: Fields, field: str, request: Message) -> Money:
    """Return the amount in a field, checked."""
    if not request.HasField(field):
        fields.refuse(field, "must be set")
    amount = optional_amount(fields, field, request)
    return amount or Money("", 0)


def optional_amount(fields: Fields, field: str, request: Message) -> Money | None:
    """Return the amount in a field, checked; None if it is absent."""
    if not request.HasField(field):
        return None
    message: money_pb2.Money = getattr(request, field)
    amount = Money(message.currency_code, message.minor_units)
    check_amount(fields, field, amount)
    return amount


def money_message(amount: Money) -> money_pb2.Money:
    """Return the message for an amount."""
    return money_pb2.Money(currency_code=amount.currency_code, minor_units=amount.minor_units)


def application_message(
    application: Application, software_statement: str = ""
) -> partner_application_pb2.PartnerApplication:
    """Return the message for an application."""
    return partner_application_pb2.PartnerApplication(
        application_id=application.application_id,
        platform_id=application.platform_id,
        merchant_name=application.merchant_name,
        contact_email=application.contact_email,
        business_description=application.business_description,
        state=partner_application_pb2.PartnerApplication.State.Value(application.state),
        partner_id=application.partner_id or "",
        software_statement=software_statement,
        rejection_reason=application.rejection_reason or "",
        reviewer=application.reviewer or "",
        create_time=timestamp(application.create_time),
        decide_time=timestamp(application.decide_time),
    )


def payment_message(payment: Payment) -> payment_service_pb2.Payment:
    """Return the message for a payment."""

    def amount(minor_units: int) -> money_pb2.Money:
        return money_pb2.Money(currency_code=payment.currency_code, minor_units=minor_units)

    return payment_service_pb2.Payment(
        payment_id=payment.payment_id,
        partner_id=payment.partner_id,
        state=payment_service_pb2.Payment.State.Value(payment.state),
        authorized_amount=amount(payment.authorized),
        captured_amount=amount(payment.captured),
        refunded_amount=amount(payment.refunded),
        fee_amount=amount(payment.fee),
        description=payment.description,
        create_time=timestamp(payment.create_time),
        update_time=timestamp(payment.update_time),
    )


def change_message(cursor: str, payment: Payment) -> payment_service_pb2.WatchPaymentsResponse:
    """Return the message for a payment's last change."""
    return payment_service_pb2.WatchPaymentsResponse(
        cursor=cursor,
        payment=payment_message(payment),
        change=payment_service_pb2.WatchPaymentsResponse.Change.Value(payment.last_change),
    )


def wallet_message(wallet: Wallet) -> wallet_service_pb2.Wallet:
    """Return the message for a wallet."""
    return wallet_service_pb2.Wallet(
        wallet_id=wallet.wallet_id,
        available=money_message(wallet.available),
        create_time=timestamp(wallet.create_time),
    )
