import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.payments.v1.partner_application_pb2 import PartnerApplication
from sekisho.shops.v1.order_service_pb2 import Order
from sekisho.shops.v1.shop_service_pb2 import Shop
from shops.opening_states import FINAL_STATES, OpeningState, after_review
from shops.order_states import OrderState, OrderStateConflict, is_declined, is_refund_refused, require_paid

CODES = sorted(code.name for code in grpc.StatusCode)
UNDECIDED = {
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "INTERNAL",
    "UNKNOWN",
    "ABORTED",
    "CANCELLED",
    "OK",
    "UNIMPLEMENTED",
    "DATA_LOSS",
    "ALREADY_EXISTS",
}


def test_states_are_those_of_the_contracts() -> None:
    assert {"STATE_UNSPECIFIED", *OpeningState} == set(Shop.State.keys())
    assert {"STATE_UNSPECIFIED", *OrderState} == set(Order.State.keys())


def test_each_decision_of_a_review_leads_somewhere() -> None:
    known = {name: after_review(name) for name in PartnerApplication.State.keys()}  # noqa: SIM118 - not a dict
    assert known == {
        "STATE_UNSPECIFIED": None,
        "PENDING": OpeningState.IN_REVIEW,
        "APPROVED": OpeningState.REGISTERING,
        "REJECTED": OpeningState.REJECTED,
    }
    assert frozenset({OpeningState.ACTIVE, OpeningState.REJECTED}) == FINAL_STATES


@given(st.sampled_from(CODES), st.booleans())
def test_what_says_nothing_about_a_payment_declines_no_order(code: str, first_attempt: bool) -> None:  # noqa: FBT001 - hypothesis makes it
    if code in UNDECIDED:
        assert not is_declined(code, first_attempt=first_attempt)


@pytest.mark.parametrize("code", sorted(set(CODES) - UNDECIDED))
def test_a_refusal_of_the_first_attempt_declines_the_order(code: str) -> None:
    assert is_declined(code, first_attempt=True)


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_refusal_at_the_door_decides_nothing_after_an_earlier_attempt(code: str) -> None:
    assert not is_declined(code, first_attempt=False)
    assert not is_refund_refused(code)


@pytest.mark.parametrize("state", list(OrderState))
def test_only_a_paid_order_can_be_refunded(state: OrderState) -> None:
    if state is OrderState.PAID:
        require_paid(state)
    else:
        with pytest.raises(OrderStateConflict):
            require_paid(state)
