"""Pays orders back."""

from functools import partial

import structlog

from mesh.errors import Code, ServiceError
from mesh.storage.database import Database
from sekisho.payments.v1 import payment_service_pb2
from shops.errors import GatewayError, PaymentsUnavailable
from shops.gateway_client import GatewayClient
from shops.order_states import OrderState, is_refund_refused, require_paid
from shops.sealed_secrets import SealedSecrets
from shops.shop_credentials import shop_credentials
from shops.store.orders import Order, mark_refunded
from shops.store.shops import Shop

_log = structlog.get_logger()


class RefundDeclined(ServiceError):
    """The payment company refuses the refund; its own reason is in the metadata."""

    code = Code.FAILED_PRECONDITION


class RefundOrder:
    """Has the payment of an order paid back, whole.

    The refund's request id is made of the order's id, so that a repeat after a lost answer pays nothing back twice.
    """

    def __init__(self, database: Database, gateway: GatewayClient, secrets: SealedSecrets) -> None:
        self._database = database
        self._gateway = gateway
        self._secrets = secrets

    async def refund(self, order: Order, shop: Shop) -> None:
        """Pay an order back, unless it was already.

        Raises:
            OrderStateConflict: If the order is not paid.
            PaymentsUnavailable: If the payment company can't be reached; the order is still paid then.
            RefundDeclined: If the payment company refuses.

        """
        if order.state is OrderState.REFUNDED:
            return
        require_paid(order.state)
        request = payment_service_pb2.RefundPaymentRequest(
            request_id=f"{order.order_id}.refund", payment_id=order.payment_id or ""
        )
        credentials = shop_credentials(self._secrets, shop)
        try:
            await self._gateway.call(credentials, self._gateway.payments.RefundPayment, request)
        except GatewayError as error:
            _log.warning("an order's refund failed", order_id=order.order_id, code=error.code, reason=error.reason)
            if is_refund_refused(error.code):
                raise RefundDeclined("the payment company refuses the refund", reason=error.reason) from error
            raise PaymentsUnavailable("the payment company can't be reached now; try again") from error
        await self._database.run(partial(mark_refunded, order_id=order.order_id))
