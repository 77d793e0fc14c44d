"""Has orders paid, each exactly once: every attempt for an order carries the same request id."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from mesh.calls import request_id
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from sekisho.payments.v1 import money_pb2, payment_service_pb2
from shops.backoff import Backoff
from shops.errors import GatewayError, UnexpectedAnswer
from shops.gateway_client import GatewayClient
from shops.order_states import OrderState, is_declined
from shops.sealed_secrets import SealedSecrets
from shops.shop_credentials import shop_credentials
from shops.store.orders import Order, get_order, mark_declined, mark_paid, postpone_order
from shops.store.shops import Shop, get_shop

_log = structlog.get_logger()

# Beyond so many at once a new order is left to the worker, which takes a few at a time.
_MAX_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Pending:
    order: Order
    shop: Shop


class PayOrder:
    """Attempts to pay orders, never twice at the same time for one order.

    That holds within one process; a second one on the same database would have to claim the rows that it works on.
    (Even then no order is paid twice. But an attempt that was refused could be recorded while another one succeeds.)
    """

    def __init__(
        self,
        database: Database,
        gateway: GatewayClient,
        secrets: SealedSecrets,
        clock: Callable[[], float],
        retries: Backoff,
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._secrets = secrets
        self._clock = clock
        self._retries = retries
        self._under_way: dict[str, asyncio.Task[None]] = {}

    @property
    def under_way(self) -> frozenset[str]:
        """The ids of the orders that are being paid at this moment."""
        return frozenset(self._under_way)

    def start_first(self, order_id: str) -> asyncio.Task[None] | None:
        """Start the first attempt for an order that was just placed; None if too much is under way."""
        if len(self._under_way) >= _MAX_AT_ONCE:
            return None
        return self._start(order_id, first_attempt=True)

    def start_again(self, order_id: str) -> asyncio.Task[None]:
        """Start one more attempt for an order, in the background of no call."""
        return self._start(order_id, first_attempt=False)

    async def stop(self) -> None:
        """Cancel what is under way. The orders stay as they are, to be paid after the next start."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, order_id: str, *, first_attempt: bool) -> asyncio.Task[None]:
        task = self._under_way.get(order_id)
        if task is None:
            task = asyncio.create_task(self._attempt(order_id, first_attempt=first_attempt))
            self._under_way[order_id] = task
            task.add_done_callback(lambda done: self._ended(order_id, done))
        return task

    def _ended(self, order_id: str, task: asyncio.Task[None]) -> None:
        del self._under_way[order_id]
        if not task.cancelled() and (error := task.exception()):
            _log.error("an attempt to pay could not be recorded", order_id=order_id, error=str(error))

    async def _attempt(self, order_id: str, *, first_attempt: bool) -> None:
        if not first_attempt:
            request_id.adopt(f"{order_id}.{OrderState.PAYMENT_PENDING.lower()}")
        pending = await self._database.read(partial(_read_pending, order_id=order_id))
        if pending is None:
            return
        log = _log.bind(order_id=order_id, attempt=pending.order.attempts + 1)
        try:
            payment_id = await self._pay(pending)
        except GatewayError as error:
            if is_declined(error.code, first_attempt=first_attempt):
                log.info("an order's payment was declined", code=error.code, reason=error.reason)
                await self._database.run(partial(mark_declined, order_id=order_id, reason=error.reason))
                return
            log.warning("an order's payment is delayed", code=error.code, reason=error.reason)
        except Exception:  # whatever it was, the order must be tried again, later
            log.exception("an order's payment is delayed")
        else:
            if not await self._database.run(partial(mark_paid, order_id=order_id, payment_id=payment_id)):
                log.error("an order was paid that no longer awaited it", payment_id=payment_id)
            return
        await self._postpone(pending.order)

    async def _pay(self, pending: _Pending) -> str:
        order = pending.order
        if order.sealed_payment_code is None:
            raise ValueError(f"the order {order.order_id} has no payment code")
        request = payment_service_pb2.CreatePaymentRequest(
            request_id=order.order_id,
            payment_code=self._secrets.payment_code(order.order_id, order.sealed_payment_code),
            amount=money_pb2.Money(currency_code=order.total.currency_code, minor_units=order.total.minor_units),
            capture=True,
            description=order.order_id,
        )
        credentials = shop_credentials(self._secrets, pending.shop)
        payment = await self._gateway.call(credentials, self._gateway.payments.CreatePayment, request)
        if not payment.payment_id:
            raise UnexpectedAnswer("a payment without an id")
        return payment.payment_id

    async def _postpone(self, order: Order) -> None:
        attempts = order.attempts + 1
        next_time = to_ms(self._clock() + self._retries.pause_seconds(attempts))
        work = partial(postpone_order, order_id=order.order_id, attempts=attempts, next_attempt_time=next_time)
        await self._database.run(work)


def _read_pending(connection: Connection, order_id: str) -> _Pending | None:
    order = get_order(connection, order_id)
    if order is None or order.state is not OrderState.PAYMENT_PENDING:
        return None
    shop = get_shop(connection, order.shop_id)
    return _Pending(order, shop) if shop else None
