"""Requests that have one effect, however often they are sent."""

from collections.abc import Callable
from functools import partial
from typing import NoReturn, TypeAlias, TypeVar

from google.protobuf.message import Message
from sqlalchemy import Connection

from mesh.crash_points import crash_point
from mesh.errors import ServiceError
from mesh.storage.database import Database
from payments.store.tables import idempotency
from sekisho.payments.v1 import partner_application_service_pb2, payment_service_pb2, wallet_service_pb2

M = TypeVar("M", bound=Message)


# The requests that name themselves (AIP-155).
IdentifiedRequest: TypeAlias = (
    partner_application_service_pb2.SubmitPartnerApplicationRequest
    | payment_service_pb2.CreatePaymentRequest
    | payment_service_pb2.CapturePaymentRequest
    | payment_service_pb2.CancelPaymentRequest
    | payment_service_pb2.RefundPaymentRequest
    | wallet_service_pb2.OpenWalletRequest
    | wallet_service_pb2.TopUpWalletRequest
)


async def once(
    database: Database, owner: str, request: IdentifiedRequest, answer: type[M], effect: Callable[[Connection], M]
) -> M:
    """Have the effect in a transaction, or return the answer that the same request got before.

    Args:
        database: Where effect and answer are kept.
        owner: Within whose requests the `request_id` is unique.
        request: The whole request.
        answer: The type of the answer.
        effect: Does the work and makes the answer.

    Raises:
        RequestIdReused: If the owner used the id for another method or with another body.

    """
    name = request.DESCRIPTOR.name

    def work(connection: Connection, effect: Callable[[Connection], M]) -> M:
        response = idempotency.once(
            connection,
            owner=owner,
            request_id=request.request_id,
            request=request,
            answer=answer,
            effect=lambda: effect(connection),
        )
        crash_point("payments", name, "commit")
        return response

    try:
        response = await database.run(partial(work, effect=effect))
    except ServiceError as error:
        # On PostgreSQL the same request may have run beside this one, and its effect be what this one was refused for.
        # Then its answer is there by now.
        response = await database.read(partial(work, effect=_refuse_with(error)))
    crash_point("payments", name, "answer")
    return response


def _refuse_with(error: ServiceError) -> Callable[[Connection], NoReturn]:
    def refuse(_connection: Connection) -> NoReturn:
        raise error

    return refuse
