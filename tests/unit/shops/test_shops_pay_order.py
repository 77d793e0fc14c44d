import asyncio
from pathlib import Path

import grpc
import pytest
from sqlalchemy import text

from shops.order_states import OrderState
from tests.databases import contents
from tests.unit.shops.fake_gateway import GOOD_CODE, LOST_ANSWER, UNAVAILABLE, FakeGateway, Refusal
from tests.unit.shops.marketplace import LONG_ENOUGH_SECONDS, Marketplace, marketplace_on, running_gateway


async def test_an_order_is_paid_with_the_shops_own_token(marketplace: Marketplace, gateway: FakeGateway) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order = await marketplace.pay_first(marketplace.place_one(shop_id))
    payment = gateway.payments[order.order_id]
    assert order.state is OrderState.PAID
    assert order.payment_id == payment.payment_id
    assert (payment.captured_amount.currency_code, payment.captured_amount.minor_units) == ("JPY", 1200)
    assert order.next_attempt_time is None
    payer = next(call.client_id for call in gateway.calls if call.method == "CreatePayment")
    assert payer == marketplace.shop(shop_id).client_id


async def test_a_declined_payment_declines_the_order_with_the_payment_companys_reason(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order = await marketplace.pay_first(marketplace.place_one(shop_id, code="pmc_unknown"))
    assert order.state is OrderState.PAYMENT_DECLINED
    assert order.decline_reason == "PAYMENT_CODE_NOT_FOUND"
    assert order.payment_id is None


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    ],
)
async def test_an_order_whose_payment_is_not_decided_is_paid_later_exactly_once(
    marketplace: Marketplace, gateway: FakeGateway, code: grpc.StatusCode
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    gateway.next_refusals["CreatePayment"].append(Refusal(code, after_effect=True))
    order = await marketplace.pay_first(marketplace.place_one(shop_id))
    assert order.state is OrderState.PAYMENT_PENDING
    assert order.attempts == 1

    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.pay_pending_orders()
    order = marketplace.order(order.order_id)
    assert order.state is OrderState.PAID
    assert list(gateway.payments) == [order.order_id]
    assert gateway.called("CreatePayment") == 2
    assert gateway.calls[-1].request_id == f"{order.order_id}.payment_pending"


async def test_payment_attempts_come_less_and_less_often(marketplace: Marketplace, gateway: FakeGateway) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    gateway.next_refusals["CreatePayment"].extend([UNAVAILABLE] * 5)
    order_id, pauses = marketplace.place_one(shop_id), []
    for _ in range(5):
        await marketplace.pay_pending_orders()
        next_time = marketplace.order(order_id).next_attempt_time
        assert next_time
        pauses.append(next_time / 1000 - marketplace.clock.now)
        marketplace.clock.now = next_time / 1000
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize("method", ["IssueToken", "CreatePayment"])
async def test_a_shop_that_may_not_take_payments_declines_its_orders(
    marketplace: Marketplace, gateway: FakeGateway, method: str
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    gateway.next_refusals[method].append(Refusal(grpc.StatusCode.PERMISSION_DENIED, "PARTNER_BLOCKED"))
    order = await marketplace.pay_first(marketplace.place_one(shop_id))
    assert order.state is OrderState.PAYMENT_DECLINED
    assert order.decline_reason == "PARTNER_BLOCKED"


async def test_a_refusal_at_the_door_does_not_decline_an_order_that_may_be_paid_already(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    blocked = Refusal(grpc.StatusCode.PERMISSION_DENIED, "PARTNER_BLOCKED")
    gateway.next_refusals["CreatePayment"].extend([LOST_ANSWER, blocked])
    order_id = marketplace.place_one(shop_id)
    await marketplace.pay_first(order_id)
    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.pay_pending_orders()
    assert marketplace.order(order_id).state is OrderState.PAYMENT_PENDING

    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.pay_pending_orders()
    assert marketplace.order(order_id).state is OrderState.PAID


async def test_the_call_and_the_worker_never_pay_one_order_at_the_same_time(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order_id = marketplace.place_one(shop_id)
    release = gateway.hold_payments()
    first = marketplace.pay_order.start_first(order_id)
    assert first
    await marketplace.pay_pending_orders()  # the order is due, and left to the attempt under way
    assert not first.done()
    assert marketplace.pay_order.start_again(order_id) is first
    release()
    await first
    assert gateway.called("CreatePayment") == 1
    assert marketplace.order(order_id).state is OrderState.PAID
    assert not marketplace.pay_order.under_way


async def test_orders_that_are_under_way_do_not_hold_up_those_that_are_due(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    busy = [marketplace.place_one(shop_id) for _ in range(20)]
    due = [marketplace.place_one(shop_id) for _ in range(20)]
    attempts = [marketplace.pay_order.start_first(order_id) for order_id in busy]
    await marketplace.pay_pending_orders()
    assert {marketplace.order(order_id).state for order_id in due} == {OrderState.PAID}
    await asyncio.gather(*filter(None, attempts))
    assert {marketplace.order(order_id).state for order_id in busy} == {OrderState.PAID}
    assert gateway.called("CreatePayment") == 40


async def test_an_attempt_for_a_decided_order_calls_nobody(marketplace: Marketplace, gateway: FakeGateway) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order_id = marketplace.place_one(shop_id)
    await marketplace.pay_first(order_id)
    await marketplace.pay_order.start_again(order_id)
    assert gateway.called("CreatePayment") == 1


async def test_an_order_is_paid_after_a_process_that_died_in_the_middle(
    gateway: FakeGateway, database_url: str
) -> None:
    async with marketplace_on(database_url, gateway) as first:
        shop_id = await first.open_active_shop(gateway)
        order_id = first.place_one(shop_id)
        reached = asyncio.Event()
        gateway.before_payment = reached.set
        first.pay_order.start_first(order_id)
        await reached.wait()  # leaving now cancels the attempt, its answer unseen
    async with marketplace_on(database_url, gateway) as second:
        second.clock.now = first.clock.now
        assert second.order(order_id).state is OrderState.PAYMENT_PENDING
        await second.pay_pending_orders()
        assert second.order(order_id).state is OrderState.PAID
    assert list(gateway.payments) == [order_id]


async def test_an_order_waits_for_a_gateway_that_is_down(certificates: Path, database_url: str) -> None:
    async with running_gateway(certificates) as gateway, marketplace_on(database_url, gateway) as marketplace:
        shop_id = await marketplace.open_active_shop(gateway)
        await gateway.stop()
        order = await marketplace.pay_first(marketplace.place_one(shop_id))
        assert order.state is OrderState.PAYMENT_PENDING
        await gateway.start()
        while marketplace.order(order.order_id).state is OrderState.PAYMENT_PENDING:  # the channel reconnects by itself
            marketplace.clock.now += LONG_ENOUGH_SECONDS
            await marketplace.pay_pending_orders()
        assert marketplace.order(order.order_id).state is OrderState.PAID


async def test_an_order_that_can_not_be_unsealed_is_kept(marketplace: Marketplace, gateway: FakeGateway) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    other = await marketplace.open_active_shop(gateway)
    sealed = marketplace.shop(other).sealed_client_secret
    with marketplace.database.engine.begin() as connection:  # one shop's secret in the row of another one
        statement = text("UPDATE shops SET sealed_client_secret = :sealed WHERE shop_id = :shop_id")
        connection.execute(statement, {"sealed": sealed, "shop_id": shop_id})
    order = await marketplace.pay_first(marketplace.place_one(shop_id))
    assert order.state is OrderState.PAYMENT_PENDING
    assert order.attempts == 1
    assert gateway.called("CreatePayment") == 0


@pytest.mark.parametrize("code", [GOOD_CODE, "pmc_some-bad-payment-code"])
async def test_a_payment_code_is_never_readable_and_erased_once_the_payment_is_decided(
    marketplace: Marketplace, gateway: FakeGateway, database_url: str, code: str
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    order_id = marketplace.place_one(shop_id, code=code)
    assert marketplace.order(order_id).sealed_payment_code
    files = contents(database_url)
    assert order_id.encode() in files
    assert code.encode() not in files
    order = await marketplace.pay_first(order_id)
    assert order.state is not OrderState.PAYMENT_PENDING
    assert order.sealed_payment_code is None
