"""The ledger: double entry, append-only.

Money moves from a source account to a destination account; the entry at the source is negative, the one at the
destination positive. A balance is the sum of an account's entries, so credit balances are positive, and those of CASH,
a debit account, negative. No account is shared by all, so none is everyone's lock.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mesh.errors import Code, ServiceError

# Below 2**53, with room for the largest amounts on top: exact in any JSON parser.
MAX_BALANCE = 9_000_000_000_000_000


class AccountKind(enum.StrEnum):
    """What an account is for. Only CASH has a debit balance."""

    CASH = "CASH"  # one per wallet: what its owner paid in
    WALLET = "WALLET"  # one per wallet: what its owner can spend
    HOLD = "HOLD"  # one per partner: authorized for it, and not captured yet
    PARTNER = "PARTNER"  # one per partner: owed to it
    FEE = "FEE"  # one per partner: the payment company's income from it


class TransactionKind(enum.StrEnum):
    """Why money moved."""

    TOP_UP = "TOP_UP"
    AUTHORIZATION = "AUTHORIZATION"
    CAPTURE = "CAPTURE"
    CANCELLATION = "CANCELLATION"
    REFUND = "REFUND"


class InsufficientFunds(ServiceError):
    """The wallet has less than the amount."""

    code = Code.FAILED_PRECONDITION


class BalanceLimitExceeded(ServiceError):
    """A balance would become larger than the ledger keeps."""

    code = Code.FAILED_PRECONDITION


class LedgerError(Exception):
    """A transaction that no caller can cause: a fault in this service, or a damaged ledger."""


class Account(NamedTuple):
    """An account's name; accounts are locked in the order of their names.

    Attributes:
        owner_id: The wallet (CASH, WALLET) or the partner (HOLD, PARTNER, FEE).
        currency_code: The ISO 4217 code.
        kind: What it is for.

    """

    owner_id: str
    currency_code: str
    kind: AccountKind


@dataclass(frozen=True, slots=True)
class Posting:
    """One movement of money.

    Attributes:
        source: The account that gives.
        destination: The account that takes.
        amount: How much, in minor units; positive.

    Raises:
        LedgerError: If the amount is not positive, or the accounts are the same or in different currencies.

    """

    source: Account
    destination: Account
    amount: int

    def __post_init__(self) -> None:
        """Refuse what is no movement of money."""
        if self.amount <= 0:
            raise LedgerError(f"a posting moves {self.amount}")
        if self.source == self.destination or self.source.currency_code != self.destination.currency_code:
            raise LedgerError(f"a posting goes from {self.source} to {self.destination}")


@dataclass(frozen=True, slots=True)
class LedgerTransaction:
    """Movements of money that happen together. It balances, for each of its postings does.

    Attributes:
        transaction_id: Its id, `ltx_…`.
        kind: Why the money moves.
        payment_id: The payment that it belongs to; None for a top-up.
        postings: The movements, in their order.
        create_time: When, in milliseconds.

    """

    transaction_id: str
    kind: TransactionKind
    payment_id: str | None
    postings: tuple[Posting, ...]
    create_time: int

    def accounts(self) -> Iterator[Account]:
        """Return the accounts that it touches, some more than once."""
        for posting in self.postings:
            yield posting.source
            yield posting.destination


class Balance(NamedTuple):
    """The state of an account.

    Attributes:
        amount: The sum of its entries, in minor units; credit is positive.
        entry_count: How many entries it has.

    """

    amount: int
    entry_count: int


class Entry(NamedTuple):
    """What a posting does to one account.

    Attributes:
        account: The account.
        sequence: The entry's place among the account's, from 1.
        transaction_id: The transaction that the posting belongs to.
        amount: What is added to the balance, in minor units; credit is positive.
        balance_after: The balance that results.

    """

    account: Account
    sequence: int
    transaction_id: str
    amount: int
    balance_after: int


def entries_of(transaction: LedgerTransaction, balances: Mapping[Account, Balance]) -> list[Entry]:
    """Return the entries of a transaction, in their order.

    Args:
        transaction: What to book.
        balances: The state of every account that it touches.

    Raises:
        InsufficientFunds: If a wallet would be left with less than nothing.
        BalanceLimitExceeded: If a balance would be left beyond `MAX_BALANCE`.
        LedgerError: If another account would be left with a balance on its wrong side.

    """
    entries: list[Entry] = []
    after = dict(balances)
    for posting in transaction.postings:
        for account, amount in ((posting.source, -posting.amount), (posting.destination, posting.amount)):
            balance = Balance(after[account].amount + amount, after[account].entry_count + 1)
            after[account] = balance
            entries.append(Entry(account, balance.entry_count, transaction.transaction_id, amount, balance.amount))
    for account in {entry.account for entry in entries}:
        _check(account, after[account].amount)
    return entries


def _check(account: Account, balance: int) -> None:
    if abs(balance) > MAX_BALANCE:
        raise BalanceLimitExceeded("a balance would become larger than the ledger keeps")
    if account.kind is AccountKind.WALLET and balance < 0:
        raise InsufficientFunds("the wallet has less than the amount")
    if balance > 0 if account.kind is AccountKind.CASH else balance < 0:
        raise LedgerError(f"{account} would have a balance of {balance}")
