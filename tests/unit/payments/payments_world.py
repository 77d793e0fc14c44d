"""What tests of the use cases act in: a database with a partner and a wallet, at one fixed time."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from sqlalchemy import Connection, select

from mesh.errors import ServiceError
from mesh.ids import new_id
from mesh.storage.database import Database
from payments.applications import Merchant, submit_application
from payments.change_payment import cancel_payment, capture_payment, refund_payment
from payments.create_payment import NewPayment, create_payment
from payments.ledger_check import Finding, LedgerCheck
from payments.money import Money
from payments.payment_states import Payment
from payments.review import approve_application
from payments.store.tables import METADATA
from payments.store.wallets import get_wallet
from payments.wallets import issue_payment_code, open_wallet, top_up_wallet

T = TypeVar("T")

NOW = 1_700_000_000_000
MERCHANT = Merchant("Tea House", "owner@tea.example", "Tea and sweets")


def yen(minor_units: int) -> Money:
    return Money("JPY", minor_units)


class World:
    """One partner; one wallet, in yen, with 10,000 in it. Each method is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.partner_id = self.new_partner()
        self.wallet_id = self.run(lambda connection: open_wallet(connection, "JPY", now=NOW, new_id=new_id)).wallet_id
        self.top_up(10_000)

    def run(self, work: Callable[[Connection], T]) -> T:
        return self.database.run_here(work)

    def new_partner(self) -> str:
        def approve(connection: Connection) -> str:
            application = submit_application(connection, "plt_shops", MERCHANT, now=NOW, new_id=new_id)
            approved = approve_application(
                connection, application.application_id, reviewer="cli_operator", now=NOW, new_id=new_id
            )
            return approved.partner_id or ""

        return self.run(approve)

    def top_up(self, minor_units: int) -> int:
        wallet = self.run(
            lambda connection: top_up_wallet(connection, self.wallet_id, yen(minor_units), now=NOW, new_id=new_id)
        )
        return wallet.available.minor_units

    def available(self) -> int:
        return self.run(lambda connection: get_wallet(connection, self.wallet_id)).available.minor_units

    def code(self, limit: int = 1_000_000_000_000, ttl_ms: int = 1000) -> str:
        return self.run(
            lambda connection: issue_payment_code(
                connection,
                self.wallet_id,
                yen(limit),
                ttl_ms=ttl_ms,
                now=NOW,
                random_bytes=secrets.token_bytes,
            )
        )[0]

    def create(
        self, amount: Money, *, code: str | None = None, capture: bool = False, now: int = NOW, fee: int = 250
    ) -> Payment:
        asked = NewPayment(self.partner_id, self.code() if code is None else code, amount, capture, "order 7", fee)
        return self.run(lambda connection: create_payment(connection, asked, now=now, new_id=new_id))

    def capture(self, payment: Payment, amount: Money | None = None, partner_id: str = "") -> Payment:
        return self.run(
            lambda connection: capture_payment(
                connection, partner_id or self.partner_id, payment.payment_id, amount, now=NOW + 1, new_id=new_id
            )
        )

    def cancel(self, payment: Payment, partner_id: str = "") -> Payment:
        return self.run(
            lambda connection: cancel_payment(
                connection, partner_id or self.partner_id, payment.payment_id, now=NOW + 1, new_id=new_id
            )
        )

    def refund(self, payment: Payment, amount: Money | None = None, partner_id: str = "") -> Payment:
        return self.run(
            lambda connection: refund_payment(
                connection, partner_id or self.partner_id, payment.payment_id, amount, now=NOW + 2, new_id=new_id
            )
        )

    def findings(self) -> list[Finding]:
        return self.run(lambda connection: list(LedgerCheck().findings(connection)))

    def everything(self) -> dict[str, list[tuple[object, ...]]]:
        return self.run(
            lambda connection: {
                table.name: sorted(map(tuple, connection.execute(select(table))), key=str)
                for table in METADATA.sorted_tables
            }
        )

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Assert that nothing changes while the context lasts."""
        before = self.everything()
        yield
        assert self.everything() == before

    def assert_refused(self, error: type[ServiceError], work: Callable[[], object]) -> None:
        """Assert that the work is refused, and changes nothing."""
        with self.unchanged(), pytest.raises(error):
            work()
