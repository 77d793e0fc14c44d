import grpc
import pytest

from shops.errors import PaymentsUnavailable
from shops.order_states import OrderState, OrderStateConflict
from shops.refund_order import RefundDeclined
from tests.unit.shops.fake_gateway import LOST_ANSWER, UNAVAILABLE, FakeGateway, Refusal
from tests.unit.shops.marketplace import Marketplace


async def test_a_paid_order_is_refunded_once(marketplace: Marketplace, gateway: FakeGateway) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order = await marketplace.pay_first(marketplace.place_one(shop_id))
    await marketplace.refund_order.refund(order, marketplace.shop(shop_id))
    order = marketplace.order(order.order_id)
    assert order.state is OrderState.REFUNDED
    await marketplace.refund_order.refund(order, marketplace.shop(shop_id))
    assert gateway.called("RefundPayment") == 1
    assert gateway.refunds == {f"{order.order_id}.refund"}


@pytest.mark.parametrize("trouble", [UNAVAILABLE, LOST_ANSWER])
async def test_a_refund_without_an_answer_leaves_the_order_paid_and_a_repeat_finishes_it(
    marketplace: Marketplace, gateway: FakeGateway, trouble: Refusal
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order = await marketplace.pay_first(marketplace.place_one(shop_id))
    gateway.next_refusals["RefundPayment"].append(trouble)
    with pytest.raises(PaymentsUnavailable):
        await marketplace.refund_order.refund(order, marketplace.shop(shop_id))
    assert marketplace.order(order.order_id).state is OrderState.PAID
    await marketplace.refund_order.refund(order, marketplace.shop(shop_id))
    assert marketplace.order(order.order_id).state is OrderState.REFUNDED
    assert gateway.refunds == {f"{order.order_id}.refund"}


async def test_a_refused_refund_says_why_and_leaves_the_order_paid(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order = await marketplace.pay_first(marketplace.place_one(shop_id))
    refusal = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "BALANCE_LIMIT_EXCEEDED")
    gateway.next_refusals["RefundPayment"].append(refusal)
    with pytest.raises(RefundDeclined) as refused:
        await marketplace.refund_order.refund(order, marketplace.shop(shop_id))
    assert refused.value.metadata == {"reason": "BALANCE_LIMIT_EXCEEDED"}
    assert marketplace.order(order.order_id).state is OrderState.PAID


@pytest.mark.parametrize("code", ["pmc_bad", "pending"])
async def test_an_order_that_is_not_paid_is_not_refunded(
    marketplace: Marketplace, gateway: FakeGateway, code: str
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order_id = marketplace.place_one(shop_id, code=code)
    if code != "pending":
        await marketplace.pay_first(order_id)
    with pytest.raises(OrderStateConflict):
        await marketplace.refund_order.refund(marketplace.order(order_id), marketplace.shop(shop_id))
    assert gateway.called("RefundPayment") == 0
