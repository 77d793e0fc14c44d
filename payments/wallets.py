"""Consumers' wallets: opening, paying in, and consenting to be charged."""

from collections.abc import Callable

from sqlalchemy import Connection

from payments import payment_codes
from payments.ledger import Account, AccountKind, LedgerTransaction, Posting, TransactionKind
from payments.money import Money, require_currency
from payments.payment_codes import PaymentCode
from payments.store.ledger import post
from payments.store.wallets import Wallet, get_wallet, insert_code, insert_wallet


def open_wallet(connection: Connection, currency_code: str, *, now: int, new_id: Callable[[str], str]) -> Wallet:
    """Open an empty wallet; `now` is in milliseconds."""
    wallet = Wallet(new_id("wal"), Money(currency_code, 0), now)
    insert_wallet(connection, wallet)
    return wallet


def top_up_wallet(
    connection: Connection, wallet_id: str, amount: Money, *, now: int, new_id: Callable[[str], str]
) -> Wallet:
    """Put money that the consumer paid in into the wallet; `now` is in milliseconds.

    Raises:
        WalletNotFound: If there is no such wallet.
        CurrencyMismatch: If the wallet is in another currency.
        BalanceLimitExceeded: If more would have been paid in than the ledger keeps.

    """
    wallet = get_wallet(connection, wallet_id)
    currency_code = wallet.available.currency_code
    require_currency(currency_code, amount)
    account = Account(wallet_id, currency_code, AccountKind.WALLET)
    posting = Posting(Account(wallet_id, currency_code, AccountKind.CASH), account, amount.minor_units)
    balances = post(connection, [LedgerTransaction(new_id("ltx"), TransactionKind.TOP_UP, None, (posting,), now)])
    return Wallet(wallet_id, Money(currency_code, balances[account].amount), wallet.create_time)


def issue_payment_code(
    connection: Connection,
    wallet_id: str,
    limit: Money,
    *,
    ttl_ms: int,
    now: int,
    random_bytes: Callable[[int], bytes],
) -> tuple[str, PaymentCode]:
    """Make a payment code for a wallet; return it and what is kept of it. `now` is in milliseconds.

    Raises:
        WalletNotFound: If there is no such wallet.
        CurrencyMismatch: If the wallet is in another currency.

    """
    wallet = get_wallet(connection, wallet_id)
    require_currency(wallet.available.currency_code, limit)
    text = payment_codes.new_code(random_bytes)
    code = PaymentCode(payment_codes.digest(text), wallet_id, limit, now + ttl_ms, None)
    insert_code(connection, code, now)
    return text, code
