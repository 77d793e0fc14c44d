import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.ledger import (
    MAX_BALANCE,
    Account,
    AccountKind,
    Balance,
    BalanceLimitExceeded,
    InsufficientFunds,
    LedgerError,
    LedgerTransaction,
    Posting,
    TransactionKind,
    entries_of,
)

CASH = Account("wal_1", "JPY", AccountKind.CASH)
WALLET = Account("wal_1", "JPY", AccountKind.WALLET)
HOLD = Account("ptn_1", "JPY", AccountKind.HOLD)
PARTNER = Account("ptn_1", "JPY", AccountKind.PARTNER)
FEE = Account("ptn_1", "JPY", AccountKind.FEE)
ACCOUNTS = [CASH, WALLET, HOLD, PARTNER, FEE]

amounts = st.integers(1, 1_000_000_000_000)
postings = st.builds(
    lambda pair, amount: Posting(*pair, amount), st.permutations(ACCOUNTS).map(lambda order: order[:2]), amounts
)


def transaction(*moved: Posting) -> LedgerTransaction:
    return LedgerTransaction("ltx_1", TransactionKind.CAPTURE, "pay_1", moved, 0)


@given(st.lists(postings, min_size=1, max_size=5))
def test_the_entries_of_any_transaction_sum_to_zero_and_continue_their_accounts(moved: list[Posting]) -> None:
    before = {account: Balance(10**14, 7) for account in ACCOUNTS} | {CASH: Balance(-(10**14), 7)}
    entries = entries_of(transaction(*moved), before)
    assert sum(entry.amount for entry in entries) == 0
    assert len(entries) == 2 * len(moved)
    for account in ACCOUNTS:
        balance, sequence = before[account]
        for entry in (entry for entry in entries if entry.account == account):
            balance, sequence = balance + entry.amount, sequence + 1
            assert (entry.balance_after, entry.sequence) == (balance, sequence)


@given(st.integers(0, 10**12), amounts)
def test_a_wallet_never_gives_more_than_it_has(available: int, amount: int) -> None:
    balances = {WALLET: Balance(available, 1), HOLD: Balance(0, 0)}
    booked = transaction(Posting(WALLET, HOLD, amount))
    if amount > available:
        with pytest.raises(InsufficientFunds):
            entries_of(booked, balances)
    else:
        assert entries_of(booked, balances)[0].balance_after == available - amount


@pytest.mark.parametrize("account", [HOLD, PARTNER, FEE])
def test_no_fault_takes_another_account_below_zero(account: Account) -> None:
    with pytest.raises(LedgerError):
        entries_of(transaction(Posting(account, WALLET, 1)), {account: Balance(0, 0), WALLET: Balance(0, 0)})


def test_no_fault_gives_cash_a_credit_balance() -> None:
    with pytest.raises(LedgerError):
        entries_of(transaction(Posting(WALLET, CASH, 1)), {CASH: Balance(0, 0), WALLET: Balance(1, 1)})


def test_a_balance_reaches_the_limit_and_no_further() -> None:
    balances = {CASH: Balance(1 - MAX_BALANCE, 1), WALLET: Balance(0, 0)}
    assert entries_of(transaction(Posting(CASH, WALLET, 1)), balances)[0].balance_after == -MAX_BALANCE
    with pytest.raises(BalanceLimitExceeded):
        entries_of(transaction(Posting(CASH, WALLET, 2)), balances)


def test_the_limit_is_below_what_json_numbers_keep() -> None:
    assert MAX_BALANCE + 1_000_000_000_000 < 2**53


@pytest.mark.parametrize(
    ("source", "destination", "amount"),
    [
        (WALLET, HOLD, 0),
        (WALLET, HOLD, -1),
        (WALLET, WALLET, 1),
        (WALLET, Account("ptn_1", "USD", AccountKind.HOLD), 1),
    ],
)
def test_what_moves_no_money_is_no_posting(source: Account, destination: Account, amount: int) -> None:
    with pytest.raises(LedgerError):
        Posting(source, destination, amount)
