"""Checks the whole ledger: that every transaction balances, and that every balance is what its entries say."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from payments.ledger import Account, AccountKind
from payments.payment_states import Payment
from payments.store import audit


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        what: What is wrong, in a few words.
        where: The account, entry, transaction or payment.
        expected: What should be there.
        found: What is there.

    """

    what: str
    where: str
    expected: str
    found: str


@dataclass(slots=True)
class LedgerCheck:
    """A check of the ledger, and how much of it was checked.

    Attributes:
        accounts: How many accounts were checked so far.
        entries: How many entries.
        transactions: How many transactions.
        payments: How many payments.

    """

    accounts: int = 0
    entries: int = 0
    transactions: int = 0
    payments: int = 0

    def findings(self, connection: Connection) -> Iterator[Finding]:
        """Read the whole ledger and return all that is wrong with it, as it is found.

        Args:
            connection: In one transaction, so that all is read in the same state.

        """
        yield from self._check_accounts(connection)
        yield from self._check_transactions(connection)
        yield from self._check_strays(connection)
        yield from self._check_payments(connection)

    def _check_accounts(self, connection: Connection) -> Iterator[Finding]:
        for account, rows in itertools.groupby(audit.accounts_with_entries(connection), _account_of):
            self.accounts += 1
            balance, count = 0, 0
            for row in rows:
                if row.sequence is not None:
                    count += 1
                    balance += row.amount
                    where = f"{_name(account)} entry {row.sequence}"
                    yield from _compare("the account's entries have a gap", where, count, row.sequence)
                    yield from _compare("balance_after is not the sum so far", where, balance, row.balance_after)
            self.entries += count
            yield from _compare("the balance is not the sum of the entries", _name(account), balance, row.balance)
            yield from _compare("the count of entries is wrong", _name(account), count, row.entry_count)

    def _check_transactions(self, connection: Connection) -> Iterator[Finding]:
        rows = audit.transactions_with_entries(connection)
        for transaction_id, group in itertools.groupby(rows, lambda row: row.transaction_id):
            self.transactions += 1
            sums: defaultdict[str, int] = defaultdict(int)
            for row in group:
                if row.amount is not None:
                    sums[row.currency_code] += row.amount
            if not sums:
                yield Finding("the transaction has no entries", transaction_id, "at least 2", "0")
            for currency_code, total in sums.items():
                yield from _compare("the transaction does not balance", f"{transaction_id} {currency_code}", 0, total)

    def _check_strays(self, connection: Connection) -> Iterator[Finding]:
        for row in audit.stray_entries(connection):
            where = f"{_name(_account_of(row))} entry {row.sequence} of {row.transaction_id}"
            yield Finding("the entry's account or transaction is missing", where, "both", "not both")

    def _check_payments(self, connection: Connection) -> Iterator[Finding]:
        for checked in audit.payments_with_movements(connection):
            self.payments += 1
            for kind, expected in _expected(checked.payment).items():
                where = f"{checked.payment.payment_id} {kind}"
                yield from _compare("the payment is not what the ledger moved", where, expected, checked.moved[kind])


def _expected(payment: Payment) -> dict[AccountKind, int]:
    kept = payment.captured - payment.refunded
    return {
        AccountKind.WALLET: -(payment.held + kept),
        AccountKind.HOLD: payment.held,
        AccountKind.PARTNER: kept - payment.fee,
        AccountKind.FEE: payment.fee,
    }


def _compare(what: str, where: str, expected: int, found: int) -> Iterator[Finding]:
    if found != expected:
        yield Finding(what, where, str(expected), str(found))


def _account_of(row: Row[*tuple[Any, ...]]) -> Account:
    return Account(row.owner_id, row.currency_code, row.kind)


def _name(account: Account) -> str:
    return f"{account.owner_id} {account.kind} {account.currency_code}"
