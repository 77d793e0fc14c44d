"""The ledger in the database: accounts, transactions and entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, insert, or_, select, update
from sqlalchemy import bindparam as bind

from mesh.storage.statements import DriverStatement
from payments.ledger import Account, AccountKind, Balance, Entry, LedgerError, LedgerTransaction, entries_of
from payments.money import Money
from payments.store.tables import accounts, entries, transactions

_OWNERS = 2

_c = accounts.c

# A list of owners would have to be written out anew each time.
_LOCK = DriverStatement(
    select(accounts)
    .where(or_(_c.owner_id == bind("owner"), _c.owner_id == bind("other")), _c.currency_code == bind("currency"))
    .order_by(_c.owner_id, _c.currency_code, _c.kind)
    .with_for_update()
)
_INSERT_ACCOUNT = insert(accounts)
_UPDATE_ACCOUNT = DriverStatement(
    update(accounts)
    .where(_c.owner_id == bind("owner"), _c.currency_code == bind("currency"), _c.kind == bind("its_kind"))
    .values(balance=bind("new_balance"), entry_count=bind("new_entry_count"))
)
_INSERT_TRANSACTION = DriverStatement(insert(transactions))
_INSERT_ENTRY = DriverStatement(insert(entries))
_BALANCES_OF_PARTNER = (
    select(_c.currency_code, _c.balance)
    .where(_c.owner_id == bind("owner"), _c.kind == AccountKind.PARTNER.value)
    .order_by(_c.currency_code)
)
_TRIAL_BALANCE = (
    select(
        _c.kind,
        _c.currency_code,
        func.count().label("account_count"),
        func.sum(case((_c.balance < 0, -_c.balance), else_=0)).label("debit"),
        func.sum(case((_c.balance > 0, _c.balance), else_=0)).label("credit"),
    )
    .group_by(_c.kind, _c.currency_code)
    .order_by(_c.currency_code, _c.kind)
)


@dataclass(frozen=True, slots=True)
class TrialBalanceRow:
    """The total of the accounts of one kind in one currency, in minor units."""

    kind: AccountKind
    currency_code: str
    account_count: int
    debit: int
    credit: int


def post(connection: Connection, booked: Sequence[LedgerTransaction]) -> Mapping[Account, Balance]:
    """Book transactions, in their order; return the accounts that they touch, as they are then.

    The number of statements does not depend on the number of transactions.

    Args:
        connection: In a transaction.
        booked: Between two owners at most, in one currency.

    Raises:
        InsufficientFunds: If a wallet would be left with less than nothing.
        BalanceLimitExceeded: If a balance would become larger than the ledger keeps.
        LedgerError: If another account would be left on its wrong side, or there are more owners or currencies.

    """
    touched = sorted({account for transaction in booked for account in transaction.accounts()})
    balances = _lock(connection, touched)
    made: list[Entry] = []
    for transaction in booked:
        new = entries_of(transaction, balances)
        balances |= {entry.account: Balance(entry.balance_after, entry.sequence) for entry in new}
        made += new
    _INSERT_TRANSACTION.execute_many(connection, [_transaction_row(transaction) for transaction in booked])
    _INSERT_ENTRY.execute_many(connection, [_entry_row(entry) for entry in made])
    _UPDATE_ACCOUNT.execute_many(connection, [_account_change(account, balances[account]) for account in touched])
    return balances


def balances_of_partner(connection: Connection, partner_id: str) -> Sequence[Money]:
    """Return what is owed to a partner, in each currency that it was ever paid in."""
    return [Money(*row) for row in connection.execute(_BALANCES_OF_PARTNER, {"owner": partner_id})]


def trial_balance(connection: Connection) -> Sequence[TrialBalanceRow]:
    """Return the totals of the whole ledger."""
    return [
        TrialBalanceRow(AccountKind(row.kind), row.currency_code, row.account_count, int(row.debit), int(row.credit))
        for row in connection.execute(_TRIAL_BALANCE)
    ]


def _lock(connection: Connection, touched: Sequence[Account]) -> dict[Account, Balance]:
    """Return the balances of the accounts, opening those that are new; nobody else posts to them meanwhile."""
    owners = {account.owner_id for account in touched}
    currencies = {account.currency_code for account in touched}
    if len(owners) > _OWNERS or len(currencies) > 1:
        raise LedgerError(f"one booking is between a wallet and a partner, in one currency, not {owners} {currencies}")
    key = {"owner": min(owners), "other": max(owners), "currency": min(currencies)}
    balances = {
        Account(row.owner_id, row.currency_code, AccountKind(row.kind)): Balance(row.balance, row.entry_count)
        for row in _LOCK.execute(connection, key)
    }
    if new := [account for account in touched if account not in balances]:
        connection.execute(_INSERT_ACCOUNT, [{**account._asdict(), "balance": 0, "entry_count": 0} for account in new])
        balances |= dict.fromkeys(new, Balance(0, 0))
    return balances


def _transaction_row(transaction: LedgerTransaction) -> dict[str, object]:
    return {
        "transaction_id": transaction.transaction_id,
        "kind": transaction.kind,
        "payment_id": transaction.payment_id,
        "create_time": transaction.create_time,
    }


def _entry_row(entry: Entry) -> dict[str, object]:
    return {
        **entry.account._asdict(),
        "sequence": entry.sequence,
        "transaction_id": entry.transaction_id,
        "amount": entry.amount,
        "balance_after": entry.balance_after,
    }


def _account_change(account: Account, balance: Balance) -> dict[str, object]:
    return {
        "owner": account.owner_id,
        "currency": account.currency_code,
        "its_kind": account.kind,
        "new_balance": balance.amount,
        "new_entry_count": balance.entry_count,
    }
