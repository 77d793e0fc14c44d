"""Creating, capturing, canceling and refunding payments, on a real database."""

import pytest

from mesh.serving.paging import Page
from payments.ledger import (
    MAX_BALANCE,
    Account,
    AccountKind,
    BalanceLimitExceeded,
    InsufficientFunds,
    LedgerError,
    LedgerTransaction,
    Posting,
    TransactionKind,
)
from payments.money import CurrencyMismatch, Money
from payments.payment_codes import (
    PaymentCodeExpired,
    PaymentCodeLimitExceeded,
    PaymentCodeNotFound,
    PaymentCodeUsed,
)
from payments.payment_states import AmountTooLarge, PaymentNotFound, PaymentState, PaymentStateConflict
from payments.store.ledger import balances_of_partner, post, trial_balance
from payments.store.payments import get_payment, list_payments
from tests.unit.payments.payments_world import NOW, World, yen


def owed(world: World) -> list[Money]:
    return list(world.run(lambda connection: balances_of_partner(connection, world.partner_id)))


def test_an_authorized_amount_is_held(world: World) -> None:
    payment = world.create(yen(4_000))
    assert payment.state is PaymentState.AUTHORIZED
    assert world.available() == 6_000
    assert owed(world) == []
    assert world.findings() == []


def test_a_payment_captured_at_once_is_the_partners_less_the_fee(world: World) -> None:
    payment = world.create(yen(4_000), capture=True)
    assert (payment.state, payment.captured, payment.fee) == (PaymentState.CAPTURED, 4_000, 100)
    assert owed(world) == [yen(3_900)]
    assert world.available() == 6_000
    assert world.findings() == []


def test_the_rest_of_a_partial_capture_goes_back_to_the_wallet(world: World) -> None:
    payment = world.capture(world.create(yen(4_000)), yen(1_000))
    assert owed(world) == [yen(975)]
    assert world.available() == 9_000
    stored = world.run(lambda connection: get_payment(connection, world.partner_id, payment.payment_id))
    assert stored == payment
    assert world.findings() == []


def test_a_refund_in_parts_returns_the_fee_with_it(world: World) -> None:
    payment = world.create(yen(999), capture=True)
    for part in (1, 500, 498):
        payment = world.refund(payment, yen(part))
        assert world.findings() == []
    assert (payment.state, payment.fee) == (PaymentState.REFUNDED, 0)
    assert world.available() == 10_000
    assert owed(world) == [yen(0)]


def test_a_canceled_payment_leaves_no_trace_in_the_balances(world: World) -> None:
    assert world.cancel(world.create(yen(10_000))).state is PaymentState.CANCELED
    assert world.available() == 10_000
    assert world.findings() == []


def test_a_payment_keeps_the_fee_that_it_was_made_with(world: World) -> None:
    payment = world.capture(world.create(yen(1_000), fee=0))
    assert payment.fee == 0
    assert world.refund(payment).state is PaymentState.REFUNDED
    assert owed(world) == [yen(0)]


def test_a_payment_code_works_once(world: World) -> None:
    code = world.code()
    world.create(yen(1), code=code)
    world.assert_refused(PaymentCodeUsed, lambda: world.create(yen(1), code=code))


def test_a_refused_payment_does_not_use_up_its_code(world: World) -> None:
    code = world.code()
    world.assert_refused(InsufficientFunds, lambda: world.create(yen(10_001), code=code))
    assert world.create(yen(10_000), code=code).authorized == 10_000


def test_a_code_that_does_not_do_is_refused(world: World) -> None:
    code = world.code(limit=500, ttl_ms=1000)
    world.assert_refused(PaymentCodeNotFound, lambda: world.create(yen(1), code="pmc_AAAAAAAAAAAAAAAAAAAAAA"))
    world.assert_refused(PaymentCodeExpired, lambda: world.create(yen(1), code=code, now=NOW + 1000))
    world.assert_refused(PaymentCodeLimitExceeded, lambda: world.create(yen(501), code=code))
    world.assert_refused(CurrencyMismatch, lambda: world.create(Money("USD", 1), code=code))
    assert world.create(yen(500), code=code, now=NOW + 999).authorized == 500


def test_codes_are_not_stored(world: World) -> None:
    code = world.code()
    world.create(yen(1), code=code)
    assert code not in str(world.everything())


def test_steps_from_the_wrong_state_change_nothing(world: World) -> None:
    held, captured = world.create(yen(10)), world.create(yen(10), capture=True)
    canceled, refunded = world.cancel(world.create(yen(10))), world.refund(world.create(yen(10), capture=True))
    for payment in (captured, canceled, refunded):
        world.assert_refused(PaymentStateConflict, lambda payment=payment: world.capture(payment))
        world.assert_refused(PaymentStateConflict, lambda payment=payment: world.cancel(payment))
    for payment in (held, canceled, refunded):
        world.assert_refused(PaymentStateConflict, lambda payment=payment: world.refund(payment))


def test_amounts_beyond_the_payment_change_nothing(world: World) -> None:
    held, captured = world.create(yen(10)), world.create(yen(10), capture=True)
    world.assert_refused(AmountTooLarge, lambda: world.capture(held, yen(11)))
    world.assert_refused(CurrencyMismatch, lambda: world.capture(held, Money("USD", 1)))
    world.refund(captured, yen(6))
    world.assert_refused(AmountTooLarge, lambda: world.refund(captured, yen(5)))


def test_another_partners_payment_does_not_exist(world: World) -> None:
    other = world.new_partner()
    held, captured = world.create(yen(10)), world.create(yen(10), capture=True)
    world.assert_refused(PaymentNotFound, lambda: world.capture(held, partner_id=other))
    world.assert_refused(PaymentNotFound, lambda: world.cancel(held, partner_id=other))
    world.assert_refused(PaymentNotFound, lambda: world.refund(captured, partner_id=other))
    with pytest.raises(PaymentNotFound):
        world.run(lambda connection: get_payment(connection, other, held.payment_id))


def test_payments_are_listed_page_by_page_the_newest_first(world: World) -> None:
    made = sorted((world.create(yen(1)) for _ in range(5)), key=lambda payment: payment.payment_id, reverse=True)
    first = world.run(lambda connection: list_payments(connection, world.partner_id, Page(2, "")))
    assert list(first) == made[:3]
    rest = world.run(lambda connection: list_payments(connection, world.partner_id, Page(9, made[1].payment_id)))
    assert list(rest) == made[2:]
    other = world.new_partner()
    assert not world.run(lambda connection: list_payments(connection, other, Page(9, "")))


def test_a_full_wallet_still_takes_what_is_refunded_and_canceled(world: World) -> None:
    captured, held = world.create(yen(3_000), capture=True), world.create(yen(2_000))
    cash, wallet = (Account(world.wallet_id, "JPY", kind) for kind in (AccountKind.CASH, AccountKind.WALLET))
    paid_in = Posting(cash, wallet, MAX_BALANCE - 10_000)
    world.run(
        lambda connection: post(connection, [LedgerTransaction("ltx_1", TransactionKind.TOP_UP, None, (paid_in,), NOW)])
    )
    world.assert_refused(BalanceLimitExceeded, lambda: world.top_up(1))
    world.refund(captured)
    world.cancel(held)
    assert world.available() == MAX_BALANCE
    assert world.findings() == []


@pytest.mark.parametrize("other", [("ptn_1", "ptn_2", "JPY"), ("ptn_1", "ptn_1", "USD")], ids=["owners", "currencies"])
def test_what_is_booked_together_is_between_two_owners_in_one_currency(
    world: World, other: tuple[str, str, str]
) -> None:
    """The accounts of no others are locked."""
    source, destination, currency_code = other
    postings = (
        Posting(Account(world.wallet_id, "JPY", AccountKind.WALLET), Account("ptn_1", "JPY", AccountKind.HOLD), 1),
        Posting(
            Account(source, currency_code, AccountKind.CASH), Account(destination, currency_code, AccountKind.HOLD), 1
        ),
    )
    booked = LedgerTransaction("ltx_1", TransactionKind.TOP_UP, None, postings, NOW)
    before = world.everything()
    with pytest.raises(LedgerError):
        world.run(lambda connection: post(connection, [booked]))
    assert world.everything() == before


def test_the_trial_balance_is_the_total_of_each_kind(world: World) -> None:
    world.create(yen(4_000), capture=True)
    world.create(yen(1_000))
    rows = {row.kind: (row.debit, row.credit) for row in world.run(trial_balance)}
    assert rows == {
        "CASH": (10_000, 0),
        "WALLET": (0, 5_000),
        "HOLD": (0, 1_000),
        "PARTNER": (0, 3_900),
        "FEE": (0, 100),
    }
    assert {row.account_count for row in world.run(trial_balance)} == {1}
