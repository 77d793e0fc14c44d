from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import payment_postings
from payments.ledger import Balance, LedgerTransaction, entries_of
from payments.money import CurrencyMismatch, Money
from payments.payment_states import (
    AmountTooLarge,
    Payment,
    PaymentState,
    PaymentStateConflict,
    cancel,
    capture,
    refund,
)


def authorized(amount: int = 1000, fee_basis_points: int = 250) -> Payment:
    return Payment(
        payment_id="pay_1",
        partner_id="ptn_1",
        wallet_id="wal_1",
        currency_code="JPY",
        state=PaymentState.AUTHORIZED,
        authorized=amount,
        captured=0,
        refunded=0,
        fee_basis_points=fee_basis_points,
        description="",
        create_time=1,
        update_time=1,
    )


def yen(minor_units: int) -> Money:
    return Money("JPY", minor_units)


STEPS: dict[str, Callable[[Payment], Payment]] = {
    "capture": lambda payment: capture(payment, None, 2),
    "cancel": lambda payment: cancel(payment, 2),
    "refund": lambda payment: refund(payment, None, 2),
}
PAYMENTS = {
    PaymentState.AUTHORIZED: authorized(),
    PaymentState.CAPTURED: capture(authorized(), None, 2),
    PaymentState.CANCELED: cancel(authorized(), 2),
    PaymentState.REFUNDED: refund(capture(authorized(), None, 2), None, 2),
}
NEXT = {
    (PaymentState.AUTHORIZED, "capture"): PaymentState.CAPTURED,
    (PaymentState.AUTHORIZED, "cancel"): PaymentState.CANCELED,
    (PaymentState.CAPTURED, "refund"): PaymentState.REFUNDED,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", PaymentState)
def test_each_step_starts_from_its_state_only(state: PaymentState, step: str) -> None:
    payment = PAYMENTS[state]
    assert payment.state is state
    if (state, step) in NEXT:
        assert STEPS[step](payment).state is NEXT[state, step]
    else:
        with pytest.raises(PaymentStateConflict):
            STEPS[step](payment)


def test_a_payment_tells_what_the_last_step_did() -> None:
    captured = capture(authorized(), None, 2)
    in_part = refund(captured, yen(1), 3)
    payments = [authorized(), captured, in_part, refund(in_part, None, 4), cancel(authorized(), 2)]
    changes = ["AUTHORIZED", "CAPTURED", "REFUNDED", "REFUNDED", "CANCELED"]
    assert [payment.last_change for payment in payments] == changes


def test_a_payment_is_captured_in_part_once() -> None:
    payment = capture(authorized(1000), yen(400), 2)
    assert (payment.captured, payment.held, payment.update_time) == (400, 0, 2)
    with pytest.raises(PaymentStateConflict):
        capture(payment, yen(1), 3)


def test_more_than_what_is_left_is_refused() -> None:
    with pytest.raises(AmountTooLarge):
        capture(authorized(1000), yen(1001), 2)
    payment = refund(capture(authorized(1000), None, 2), yen(600), 3)
    assert payment.state is PaymentState.CAPTURED
    with pytest.raises(AmountTooLarge):
        refund(payment, yen(401), 4)
    assert refund(payment, yen(400), 4).state is PaymentState.REFUNDED


def test_an_amount_in_another_currency_is_refused() -> None:
    with pytest.raises(CurrencyMismatch):
        capture(authorized(), Money("USD", 1), 2)
    with pytest.raises(CurrencyMismatch):
        refund(capture(authorized(), None, 2), Money("USD", 1), 3)


@given(st.integers(1, 10**12), st.integers(0, 10_000))
def test_the_fee_is_rounded_down(amount: int, fee_basis_points: int) -> None:
    payment = capture(authorized(amount, fee_basis_points), None, 2)
    assert payment.fee * 10_000 <= amount * fee_basis_points < (payment.fee + 1) * 10_000


def booked(balances: dict[str, Balance], transaction: LedgerTransaction) -> None:
    """Book on accounts that nothing else touches; the ledger refuses any that would fall below zero."""
    for entry in entries_of(transaction, {a: balances.get(a.kind, Balance(0, 0)) for a in transaction.accounts()}):
        balances[entry.account.kind] = Balance(entry.balance_after, entry.sequence)


@given(st.data(), st.integers(1, 10**12), st.integers(0, 10_000))
def test_any_parts_can_be_refunded_until_nothing_is_left(
    data: st.DataObject, amount: int, fee_basis_points: int
) -> None:
    payment = authorized(amount, fee_basis_points)
    balances = {"WALLET": Balance(amount, 1)}
    booked(balances, payment_postings.authorization("ltx_1", payment))
    payment = capture(payment, yen(data.draw(st.integers(1, amount))), 2)
    booked(balances, payment_postings.capture("ltx_2", payment))
    while payment.state is PaymentState.CAPTURED:
        left = payment.captured - payment.refunded
        before, payment = payment, refund(payment, yen(data.draw(st.integers(max(1, left // 5), left))), 3)
        booked(balances, payment_postings.refund("ltx_3", before, payment))
        kept = payment.captured - payment.refunded
        assert balances["WALLET"].amount == amount - kept
        assert balances["PARTNER"].amount == kept - payment.fee
        assert balances.get("FEE", Balance(0, 0)).amount == kept * fee_basis_points // 10_000
    assert balances["WALLET"].amount == amount
    assert all(balance.amount == 0 for kind, balance in balances.items() if kind != "WALLET")


@given(st.integers(1, 10**12))
def test_a_cancellation_undoes_the_authorization(amount: int) -> None:
    balances = {"WALLET": Balance(amount, 1)}
    booked(balances, payment_postings.authorization("ltx_1", authorized(amount)))
    assert (balances["WALLET"].amount, balances["HOLD"].amount) == (0, amount)
    booked(balances, payment_postings.cancellation("ltx_2", cancel(authorized(amount), 2)))
    assert (balances["WALLET"].amount, balances["HOLD"].amount) == (amount, 0)
