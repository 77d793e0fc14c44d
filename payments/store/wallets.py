"""Wallets and payment codes in the database."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, insert, select, update
from sqlalchemy import bindparam as bind

from mesh.storage.statements import DriverStatement
from payments.errors import WalletNotFound
from payments.ledger import AccountKind
from payments.money import Money
from payments.payment_codes import PaymentCode, PaymentCodeNotFound
from payments.store.tables import accounts, payment_codes, wallets

_ITS_ACCOUNT = and_(
    accounts.c.owner_id == wallets.c.wallet_id,
    accounts.c.currency_code == wallets.c.currency_code,
    accounts.c.kind == AccountKind.WALLET.value,
)

_INSERT_WALLET = insert(wallets)
_FIND_WALLET = (
    select(wallets, func.coalesce(accounts.c.balance, 0).label("balance"))
    .select_from(wallets.outerjoin(accounts, _ITS_ACCOUNT))
    .where(wallets.c.wallet_id == bind("id"))
)
_INSERT_CODE = insert(payment_codes)
_FIND_CODE = DriverStatement(
    select(payment_codes).where(payment_codes.c.code_digest == bind("digest")).with_for_update()
)
_USE_CODE = DriverStatement(
    update(payment_codes).where(payment_codes.c.code_digest == bind("digest")).values(payment_id=bind("new_payment_id"))
)


@dataclass(frozen=True, slots=True)
class Wallet:
    """A consumer's wallet.

    Attributes:
        wallet_id: Its id, `wal_…`.
        available: What the consumer can spend.
        create_time: When it was opened, in milliseconds.

    """

    wallet_id: str
    available: Money
    create_time: int


def insert_wallet(connection: Connection, wallet: Wallet) -> None:
    """Add a new wallet, with nothing in it."""
    row = {
        "wallet_id": wallet.wallet_id,
        "currency_code": wallet.available.currency_code,
        "create_time": wallet.create_time,
    }
    connection.execute(_INSERT_WALLET, row)


def get_wallet(connection: Connection, wallet_id: str) -> Wallet:
    """Return a wallet with its balance.

    Raises:
        WalletNotFound: If there is none.

    """
    row = connection.execute(_FIND_WALLET, {"id": wallet_id}).one_or_none()
    if row is None:
        raise WalletNotFound("there is no such wallet")
    return Wallet(row.wallet_id, Money(row.currency_code, row.balance), row.create_time)


def insert_code(connection: Connection, code: PaymentCode, now: int) -> None:
    """Add a new payment code."""
    row = {
        "code_digest": code.code_digest,
        "wallet_id": code.wallet_id,
        "currency_code": code.limit.currency_code,
        "charge_limit": code.limit.minor_units,
        "create_time": now,
        "expire_time": code.expire_time,
        "payment_id": code.payment_id,
    }
    connection.execute(_INSERT_CODE, row)


def get_code(connection: Connection, code_digest: bytes) -> PaymentCode:
    """Return a payment code; nobody else uses it until the transaction ends.

    Raises:
        PaymentCodeNotFound: If there is none.

    """
    row = _FIND_CODE.first(connection, {"digest": code_digest})
    if row is None:
        raise PaymentCodeNotFound("there is no such payment code")
    limit = Money(row.currency_code, row.charge_limit)
    return PaymentCode(row.code_digest, row.wallet_id, limit, row.expire_time, row.payment_id)


def use_code(connection: Connection, code_digest: bytes, payment_id: str) -> None:
    """Remember which payment used a code up."""
    _USE_CODE.execute(connection, {"digest": code_digest, "new_payment_id": payment_id})
