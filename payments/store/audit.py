"""Reads the whole ledger, row by row, to check it. Memory does not grow with the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, exists, func, select

from payments.ledger import AccountKind
from payments.payment_states import Payment
from payments.store.payments import payment_of
from payments.store.tables import accounts, entries, payments, transactions

_ROWS_AT_ONCE = 1000

_ITS_ACCOUNT = and_(
    accounts.c.owner_id == entries.c.owner_id,
    accounts.c.currency_code == entries.c.currency_code,
    accounts.c.kind == entries.c.kind,
)
_ITS_TRANSACTION = transactions.c.transaction_id == entries.c.transaction_id
_ITS_PAYMENT = transactions.c.payment_id == payments.c.payment_id


def _moved(kind: AccountKind, owner: ColumnElement[str]) -> ColumnElement[Any]:
    """What a payment's entries add to the account of a kind that is its own."""
    its_own = and_(
        entries.c.kind == kind.value,
        entries.c.owner_id == owner,
        entries.c.currency_code == payments.c.currency_code,
    )
    return func.sum(case((its_own, entries.c.amount), else_=0)).label(kind.value.lower())


_ACCOUNTS = (
    select(accounts, entries.c.sequence, entries.c.amount, entries.c.balance_after)
    .select_from(accounts.outerjoin(entries, _ITS_ACCOUNT))
    .order_by(accounts.c.owner_id, accounts.c.currency_code, accounts.c.kind, entries.c.sequence)
    .execution_options(yield_per=_ROWS_AT_ONCE)
)
_TRANSACTIONS = (
    select(transactions.c.transaction_id, entries.c.currency_code, entries.c.amount)
    .select_from(transactions.outerjoin(entries, _ITS_TRANSACTION))
    .order_by(transactions.c.transaction_id)
    .execution_options(yield_per=_ROWS_AT_ONCE)
)
_PAYMENTS = (
    select(
        payments,
        _moved(AccountKind.WALLET, payments.c.wallet_id),
        _moved(AccountKind.HOLD, payments.c.partner_id),
        _moved(AccountKind.PARTNER, payments.c.partner_id),
        _moved(AccountKind.FEE, payments.c.partner_id),
    )
    .select_from(payments.outerjoin(transactions, _ITS_PAYMENT).outerjoin(entries, _ITS_TRANSACTION))
    .group_by(payments.c.payment_id)
    .order_by(payments.c.payment_id)
    .execution_options(yield_per=_ROWS_AT_ONCE)
)
_STRAY_ENTRIES = (
    select(entries)
    .where(~exists().where(_ITS_ACCOUNT) | ~exists().where(_ITS_TRANSACTION))
    .execution_options(yield_per=_ROWS_AT_ONCE)
)


@dataclass(frozen=True, slots=True)
class MovedPayment:
    """A payment, and what its transactions add to its own accounts."""

    payment: Payment
    moved: dict[AccountKind, int]


def accounts_with_entries(connection: Connection) -> Iterator[Row[*tuple[Any, ...]]]:
    """Return every account with each of its entries in their order; once, with None, if it has none."""
    yield from connection.execute(_ACCOUNTS)


def transactions_with_entries(connection: Connection) -> Iterator[Row[*tuple[Any, ...]]]:
    """Return every transaction with each of its entries; once, with None, if it has none."""
    yield from connection.execute(_TRANSACTIONS)


def stray_entries(connection: Connection) -> Iterator[Row[*tuple[Any, ...]]]:
    """Return the entries whose account or transaction does not exist."""
    yield from connection.execute(_STRAY_ENTRIES)


def payments_with_movements(connection: Connection) -> Iterator[MovedPayment]:
    """Return every payment with what its transactions move."""
    for row in connection.execute(_PAYMENTS):
        moved = {
            AccountKind.WALLET: int(row.wallet),
            AccountKind.HOLD: int(row.hold),
            AccountKind.PARTNER: int(row.partner),
            AccountKind.FEE: int(row.fee),
        }
        yield MovedPayment(payment_of(row), moved)
