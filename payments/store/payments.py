"""Payments in the database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy import bindparam as bind

from mesh.serving.paging import Page
from mesh.storage.statements import DriverStatement
from payments.payment_states import Payment, PaymentNotFound, PaymentState
from payments.store.tables import AFTER_ALL_IDS, payments

_c = payments.c
_COLUMNS = tuple(_c.keys())

_INSERT = DriverStatement(insert(payments))
_SELECT = select(payments).where(_c.payment_id == bind("id"), _c.partner_id == bind("partner"))
_FIND = DriverStatement(_SELECT)
_FIND_LOCKED = DriverStatement(_SELECT.with_for_update())
_UPDATE = DriverStatement(
    update(payments)
    .where(_c.payment_id == bind("id"))
    .values(
        state=bind("new_state"),
        captured=bind("new_captured"),
        refunded=bind("new_refunded"),
        update_time=bind("new_time"),
    )
)
_LIST = (
    select(payments)
    .where(_c.partner_id == bind("partner"), _c.payment_id < bind("before"))
    .order_by(_c.payment_id.desc())
    .limit(bind("most"))
)


def insert_payment(connection: Connection, payment: Payment) -> None:
    """Add a new payment."""
    _INSERT.execute(connection, {name: getattr(payment, name) for name in _COLUMNS})


def get_payment(connection: Connection, partner_id: str, payment_id: str, *, lock: bool = False) -> Payment:
    """Return a partner's payment; with `lock`, nobody else changes it until the transaction ends.

    Raises:
        PaymentNotFound: If there is none, or it is another partner's.

    """
    key = {"id": payment_id, "partner": partner_id}
    row = (_FIND_LOCKED if lock else _FIND).first(connection, key)
    if row is None:
        raise PaymentNotFound("there is no such payment")
    return payment_of(row)


def update_payment(connection: Connection, payment: Payment) -> None:
    """Keep what a step changed of a payment."""
    change = {
        "id": payment.payment_id,
        "new_state": payment.state,
        "new_captured": payment.captured,
        "new_refunded": payment.refunded,
        "new_time": payment.update_time,
    }
    _UPDATE.execute(connection, change)


def list_payments(connection: Connection, partner_id: str, page: Page) -> Sequence[Payment]:
    """Return a page of a partner's payments and one more, the newest first."""
    key = {"partner": partner_id, "before": page.after or AFTER_ALL_IDS, "most": page.limit}
    return [payment_of(row) for row in connection.execute(_LIST, key)]


def payment_of(row: Any) -> Payment:  # noqa: ANN401 - a row of SQLAlchemy's, or of a driver's
    """Return the payment in a row that begins with the columns of the table."""
    return Payment(
        payment_id=row.payment_id,
        partner_id=row.partner_id,
        wallet_id=row.wallet_id,
        currency_code=row.currency_code,
        state=PaymentState(row.state),
        authorized=row.authorized,
        captured=row.captured,
        refunded=row.refunded,
        fee_basis_points=row.fee_basis_points,
        description=row.description,
        create_time=row.create_time,
        update_time=row.update_time,
    )
