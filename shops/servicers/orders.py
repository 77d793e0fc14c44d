"""Serves `sekisho.shops.v1.OrderService`."""

import asyncio
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from mesh.calls.deadlines import time_left
from mesh.calls.wrapping import Context
from mesh.ids import new_id
from mesh.serving.fields import Fields
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from sekisho.shops.v1 import order_service_pb2, order_service_pb2_grpc
from shops.money import MAX_QUANTITY
from shops.owner_tokens import order_token
from shops.pay_order import PayOrder
from shops.place_order import place_order
from shops.refund_order import RefundOrder
from shops.sealed_secrets import SealedSecrets
from shops.servicers.messages import order_message, token_of
from shops.store.orders import Order, require_order
from shops.store.tables import IDEMPOTENCY
from shops.visibility import Visibility

_MAX_ITEMS = 100
# PlaceOrder answers after so long even if the payment is not decided,
_ANSWER_WITHIN_SECONDS = 15.0
# and so long before the caller would give up.
_ANSWER_BEFORE_DEADLINE_SECONDS = 0.5
# Until then the worker leaves the payment of a new order to the call that placed it.
_FIRST_ATTEMPT_SECONDS = 1.0


class OrderServiceServicer(order_service_pb2_grpc.OrderServiceServicer):
    """Takes, shows and refunds orders."""

    def __init__(
        self,
        database: Database,
        visibility: Visibility,
        token_key: bytes,
        secrets: SealedSecrets,
        pay_order: PayOrder,
        refund_order: RefundOrder,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._visibility = visibility
        self._token_key = token_key
        self._secrets = secrets
        self._pay_order = pay_order
        self._refund_order = refund_order
        self._clock = clock

    async def PlaceOrder(
        self, request: order_service_pb2.PlaceOrderRequest, context: Context
    ) -> order_service_pb2.PlaceOrderResponse:
        """Take an order down and wait for its payment, or find the order that the same request placed."""
        _check(request)
        order_id = new_id("ord")
        order = await self._database.run(partial(self._place, request=request, order_id=order_id))
        if order.order_id == order_id and (payment := self._pay_order.start_first(order_id)):
            # The payment goes on even if the caller has no patience for it.
            done, _ = await asyncio.wait({payment}, timeout=_patience(context))
            for attempt in done:
                attempt.result()
            order = await self._database.read(partial(require_order, order_id=order_id))
        token = order_token(self._token_key, order.order_id)
        return order_service_pb2.PlaceOrderResponse(order=order_message(order), order_token=token)

    async def GetOrder(self, request: order_service_pb2.GetOrderRequest, context: Context) -> order_service_pb2.Order:
        """Show an order."""
        token = token_of(context)
        order = await self._database.read(partial(self._visibility.order, order_id=request.order_id, token=token))
        return order_message(order)

    async def RefundOrder(
        self, request: order_service_pb2.RefundOrderRequest, context: Context
    ) -> order_service_pb2.Order:
        """Pay an order back."""
        token = token_of(context)
        work = partial(self._visibility.own_order, order_id=request.order_id, token=token)
        order, shop = await self._database.read(work)
        await self._refund_order.refund(order, shop)
        order = await self._database.read(partial(require_order, order_id=order.order_id))
        return order_message(order)

    def _place(self, connection: Connection, request: order_service_pb2.PlaceOrderRequest, order_id: str) -> Order:
        shop = self._visibility.active_shop(connection, request.shop_id)
        now = self._clock()

        def effect() -> order_service_pb2.Order:
            order = place_order(
                connection,
                order_id=order_id,
                shop_id=shop.shop_id,
                items=[(item.product_id, item.quantity) for item in request.items],
                sealed_payment_code=self._secrets.seal_payment_code(order_id, request.payment_code),
                now=to_ms(now),
                next_attempt_time=to_ms(now + _FIRST_ATTEMPT_SECONDS),
            )
            return order_message(order)

        answer = IDEMPOTENCY.once(
            connection,
            owner=shop.shop_id,
            request_id=request.request_id,
            request=request,
            answer=order_service_pb2.Order,
            effect=effect,
        )
        return require_order(connection, answer.order_id)


def _check(request: order_service_pb2.PlaceOrderRequest) -> None:
    fields = Fields()
    fields.random_request_id(request.request_id)
    fields.identifier("payment_code", request.payment_code, max_length=200)
    if not 1 <= len(request.items) <= _MAX_ITEMS:
        fields.refuse("items", f"must be from 1 to {_MAX_ITEMS}")
    for index, item in enumerate(request.items[:_MAX_ITEMS]):
        if not 1 <= item.quantity <= MAX_QUANTITY:
            fields.refuse(f"items[{index}].quantity", f"must be from 1 to {MAX_QUANTITY}")
    fields.done()


def _patience(context: Context) -> float:
    """Return for how many seconds to wait for a payment."""
    remaining = time_left(context)
    if remaining is None:
        return _ANSWER_WITHIN_SECONDS
    return max(0.0, min(_ANSWER_WITHIN_SECONDS, remaining - _ANSWER_BEFORE_DEADLINE_SECONDS))
