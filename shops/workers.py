"""What goes on in the background: shops being opened, and orders whose payment is not decided yet.

One process works on one database. A second one would have to claim the rows that it takes (a lease in the same
transaction as the look), lest both make the same calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from mesh.storage.database import Database
from mesh.timestamps import to_ms
from shops.opening import Opening
from shops.pay_order import PayOrder
from shops.store.orders import list_due_orders
from shops.store.shops import list_due_shops

# At once; so one that is slow holds the others up for no longer than its own calls may take.
_BATCH = 16


async def take_openings_on(database: Database, opening: Opening, clock: Callable[[], float]) -> None:
    """Take every opening that is due one step on, until none is."""
    while True:
        shops = await database.read(partial(list_due_shops, now=to_ms(clock()), limit=_BATCH))
        if not shops:
            return
        await _all(opening.step(shop) for shop in shops)


async def pay_pending_orders(database: Database, pay_order: PayOrder, clock: Callable[[], float]) -> None:
    """Attempt to pay every order that is due, until none is."""
    while True:
        under_way = frozenset(pay_order.under_way)
        due = await database.read(partial(list_due_orders, now=to_ms(clock()), limit=_BATCH + len(under_way)))
        order_ids = [order_id for order_id in due if order_id not in under_way][:_BATCH]
        if not order_ids:
            return
        await _all(pay_order.start_again(order_id) for order_id in order_ids)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Wait until all have ended, and raise the first of what they raised."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
