import pytest

from mesh.ids import new_id
from payments.errors import WalletNotFound
from payments.money import CurrencyMismatch, Money
from payments.store.wallets import get_wallet
from payments.wallets import issue_payment_code, open_wallet, top_up_wallet
from tests.unit.payments.payments_world import NOW, World, yen

NO_WALLET = "wal_00000000000000000000000000"


def test_a_new_wallet_is_empty(world: World) -> None:
    wallet = world.run(lambda connection: open_wallet(connection, "USD", now=NOW, new_id=new_id))
    assert wallet.available == Money("USD", 0)
    assert world.run(lambda connection: get_wallet(connection, wallet.wallet_id)) == wallet


def test_what_is_paid_in_can_be_spent(world: World) -> None:
    assert world.top_up(5) == 10_005
    assert world.available() == 10_005
    assert world.findings() == []


def test_a_wallet_takes_its_own_currency_only(world: World) -> None:
    world.assert_refused(
        CurrencyMismatch,
        lambda: world.run(
            lambda connection: top_up_wallet(connection, world.wallet_id, Money("USD", 1), now=NOW, new_id=new_id)
        ),
    )
    world.assert_refused(CurrencyMismatch, lambda: issue(world, world.wallet_id, Money("USD", 1)))


def issue(world: World, wallet_id: str, limit: Money) -> str:
    return world.run(
        lambda connection: issue_payment_code(
            connection, wallet_id, limit, ttl_ms=1, now=NOW, random_bytes=lambda size: b"\0" * size
        )
    )[0]


def test_a_wallet_that_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(WalletNotFound):
        world.run(lambda connection: get_wallet(connection, NO_WALLET))
    world.assert_refused(WalletNotFound, lambda: issue(world, NO_WALLET, yen(1)))
    world.assert_refused(
        WalletNotFound,
        lambda: world.run(lambda connection: top_up_wallet(connection, NO_WALLET, yen(1), now=NOW, new_id=new_id)),
    )
