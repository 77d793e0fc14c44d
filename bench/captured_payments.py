"""The unit of work that is measured in payments: a payment that is captured at once."""

import asyncio
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from bench.recording import Statement, record_statements
from mesh.ids import new_id
from mesh.storage.database import Database
from mesh.storage.migrations import upgrade
from mesh.timestamps import to_ms
from payments.applications import Merchant, submit_application
from payments.create_payment import NewPayment, create_payment
from payments.money import Money
from payments.once import once
from payments.review import approve_application
from payments.servicers.messages import payment_message
from payments.wallets import issue_payment_code, open_wallet, top_up_wallet
from sekisho.payments.v1 import payment_service_pb2 as pb

CONCURRENCY = 32

_PARTNERS = 100
_PRICE = Money("JPY", 1_200)
_TOP_UP = Money("JPY", 1_000_000_000)
_DAY_MS = 24 * 60 * 60 * 1000
_MERCHANT = Merchant("Tea House", "tea@example.com", "Green tea")


@dataclass(frozen=True, slots=True)
class Asked:
    """A payment that is asked for."""

    partner_id: str
    payment_code: str


async def seed(url: str, count: int) -> list[Asked]:
    """Make a database with partners and wallets; return payments to be made in it, for the partners in turn."""
    database = Database(url)
    try:
        database.run_here(lambda connection: upgrade(connection, "payments"))
        pairs = database.run_here(_partners_and_wallets)
        asked = database.run_here(lambda connection: _codes(connection, pairs, count + len(pairs)))
        # The first payment of each opens its accounts, which later ones only find.
        await capture_all(database, asked[: len(pairs)])
        return asked[len(pairs) :]
    finally:
        database.close()


async def capture_all(database: Database, asked: Sequence[Asked]) -> None:
    """Make payments, `CONCURRENCY` of them queued at a time."""
    queued = iter(asked)

    async def caller() -> None:
        for each in queued:
            await _capture(database, each)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(caller())


async def record(url: str, asked: Sequence[Asked]) -> list[list[Statement]]:
    """Make payments one by one; return the statements of each."""
    database = Database(url)
    try:
        statements: list[Statement] = []
        record_statements(database.engine, statements)
        database.run_here(lambda _connection: None)  # connects, which takes statements of its own
        recorded: list[list[Statement]] = []
        for each in asked:
            statements.clear()
            await _capture(database, each)
            recorded.append([each for each in statements if each.sql != "BEGIN IMMEDIATE"])  # the driver does that
        return recorded
    finally:
        database.close()


async def _capture(database: Database, asked: Asked) -> pb.Payment:
    """Do what `CreatePayment` does."""
    request = pb.CreatePaymentRequest(
        request_id=str(uuid.uuid4()), payment_code=asked.payment_code, capture=True, description="order 7"
    )
    new = NewPayment(
        asked.partner_id, asked.payment_code, _PRICE, capture=True, description="order 7", fee_basis_points=250
    )

    def effect(connection: Connection) -> pb.Payment:
        return payment_message(create_payment(connection, new, now=to_ms(time.time()), new_id=new_id))

    return await once(database, asked.partner_id, request, pb.Payment, effect)


def _partners_and_wallets(connection: Connection) -> list[tuple[str, str]]:
    now = to_ms(time.time())
    pairs = []
    for _ in range(_PARTNERS):
        application = submit_application(connection, "shops", _MERCHANT, now=now, new_id=new_id)
        approved = approve_application(connection, application.application_id, reviewer="o", now=now, new_id=new_id)
        wallet = open_wallet(connection, _PRICE.currency_code, now=now, new_id=new_id)
        top_up_wallet(connection, wallet.wallet_id, _TOP_UP, now=now, new_id=new_id)
        pairs.append((approved.partner_id or "", wallet.wallet_id))
    return pairs


def _codes(connection: Connection, pairs: Sequence[tuple[str, str]], count: int) -> list[Asked]:
    now = to_ms(time.time())
    asked = []
    for number in range(count):
        partner_id, wallet_id = pairs[number % len(pairs)]
        code, _ = issue_payment_code(
            connection, wallet_id, _PRICE, ttl_ms=_DAY_MS, now=now, random_bytes=secrets.token_bytes
        )
        asked.append(Asked(partner_id, code))
    return asked
