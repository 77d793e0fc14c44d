from pathlib import Path

import grpc
import pytest

from shops.opening_states import OpeningState
from tests.databases import contents
from tests.unit.shops.fake_gateway import LOST_ANSWER, UNAVAILABLE, Application, FakeGateway, Refusal
from tests.unit.shops.marketplace import (
    LONG_ENOUGH_SECONDS,
    RETRIES,
    REVIEWS,
    Marketplace,
    marketplace_on,
    running_gateway,
)


async def test_a_shop_is_applied_for_reviewed_and_registered(marketplace: Marketplace, gateway: FakeGateway) -> None:
    shop_id = marketplace.open_shop()
    await marketplace.take_openings_on()
    in_review = marketplace.shop(shop_id)
    assert in_review.state is OpeningState.IN_REVIEW
    application = gateway.applications[shop_id]
    assert in_review.application_id == application.application_id
    assert application.merchant_name == in_review.display_name == "Kissa"
    assert application.contact_email == in_review.contact_email
    assert application.business_description == in_review.business_description

    gateway.decide(Application.APPROVED)
    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.take_openings_on()
    active = marketplace.shop(shop_id)
    assert active.state is OpeningState.ACTIVE
    assert active.partner_id == gateway.applications[shop_id].partner_id
    assert active.next_attempt_time is None
    assert active.client_id
    assert active.sealed_client_secret
    secret = marketplace.secrets.client_secret(shop_id, active.sealed_client_secret)
    assert secret == gateway.secrets[active.client_id]


async def test_calls_carry_the_request_id_of_shop_and_state_and_the_master_clients_token(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    calls = {(call.method, call.request_id, call.client_id) for call in gateway.calls}
    assert ("IssueToken", f"{shop_id}.applying", "") in calls
    assert ("SubmitPartnerApplication", f"{shop_id}.applying", "cli_master") in calls
    assert ("GetPartnerApplication", f"{shop_id}.in_review", "cli_master") in calls
    assert ("RegisterClient", f"{shop_id}.registering", "cli_master") in calls


async def test_an_application_under_review_is_looked_at_less_and_less_often(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = marketplace.open_shop()
    pauses = []
    for _ in range(6):
        await marketplace.take_openings_on()
        next_time = marketplace.shop(shop_id).next_attempt_time
        assert next_time
        pauses.append(next_time / 1000 - marketplace.clock.now)
        marketplace.clock.now = next_time / 1000
    assert pauses == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]
    assert REVIEWS.max_seconds == 16.0
    assert gateway.called("GetPartnerApplication") == 6


async def test_a_shop_that_is_not_due_is_left_alone(marketplace: Marketplace, gateway: FakeGateway) -> None:
    marketplace.open_shop()
    await marketplace.take_openings_on()
    calls = len(gateway.calls)
    marketplace.clock.now += REVIEWS.first_seconds - 0.001
    await marketplace.take_openings_on()
    assert len(gateway.calls) == calls


async def test_a_rejected_shop_has_the_reason_and_is_left_alone(marketplace: Marketplace, gateway: FakeGateway) -> None:
    shop_id = marketplace.open_shop()
    await marketplace.take_openings_on()
    gateway.decide(Application.REJECTED, "sells what it must not")
    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.take_openings_on()
    shop = marketplace.shop(shop_id)
    assert shop.state is OpeningState.REJECTED
    assert shop.rejection_reason == "sells what it must not"
    assert shop.next_attempt_time is None
    assert gateway.called("RegisterClient") == 0


async def test_an_application_that_is_refused_as_invalid_rejects_the_shop(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = marketplace.open_shop()
    refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    gateway.next_refusals["SubmitPartnerApplication"].append(refusal)
    await marketplace.take_openings_on()
    assert marketplace.shop(shop_id).state is OpeningState.REJECTED
    assert marketplace.shop(shop_id).rejection_reason == "refused"


async def test_a_lost_answer_to_the_registration_is_repaired_by_a_new_secret(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    gateway.next_refusals["RegisterClient"].append(LOST_ANSWER)
    shop_id = await marketplace.open_active_shop(gateway)
    assert marketplace.shop(shop_id).state is OpeningState.REGISTERING

    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.take_openings_on()
    shop = marketplace.shop(shop_id)
    assert shop.state is OpeningState.ACTIVE
    assert gateway.called("RotateClientSecret") == 1
    assert len(gateway.clients_of_statements) == 1
    assert shop.client_id in gateway.clients_of_statements.values()
    assert shop.client_id
    assert shop.sealed_client_secret
    secret = marketplace.secrets.client_secret(shop_id, shop.sealed_client_secret)
    assert secret == gateway.secrets[shop.client_id]


async def test_a_lost_answer_to_the_rotation_is_repaired_by_another_one(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    gateway.next_refusals["RegisterClient"].append(LOST_ANSWER)
    gateway.next_refusals["RotateClientSecret"].append(LOST_ANSWER)
    shop_id = await marketplace.open_active_shop(gateway)
    for _ in range(2):
        marketplace.clock.now += LONG_ENOUGH_SECONDS
        await marketplace.take_openings_on()
    shop = marketplace.shop(shop_id)
    assert shop.state is OpeningState.ACTIVE
    assert shop.client_id
    assert shop.sealed_client_secret
    secret = marketplace.secrets.client_secret(shop_id, shop.sealed_client_secret)
    assert secret == gateway.secrets[shop.client_id]


async def test_a_lost_answer_to_the_application_makes_no_second_one(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    gateway.next_refusals["SubmitPartnerApplication"].append(LOST_ANSWER)
    shop_id = await marketplace.open_active_shop(gateway)
    assert marketplace.shop(shop_id).state is OpeningState.ACTIVE
    assert gateway.called("SubmitPartnerApplication") == 2
    assert list(gateway.applications) == [shop_id]


@pytest.mark.parametrize("method", ["IssueToken", "SubmitPartnerApplication", "GetPartnerApplication"])
@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.PERMISSION_DENIED]
)
async def test_no_failure_loses_a_shop(
    marketplace: Marketplace, gateway: FakeGateway, method: str, code: grpc.StatusCode
) -> None:
    gateway.next_refusals[method].extend([Refusal(code)] * 3)
    shop_id = marketplace.open_shop()
    for _ in range(5):
        await marketplace.take_openings_on()
        gateway.decide(Application.APPROVED)
        marketplace.clock.now += LONG_ENOUGH_SECONDS
    assert marketplace.shop(shop_id).state is OpeningState.ACTIVE


async def test_failures_are_retried_less_and_less_often(marketplace: Marketplace, gateway: FakeGateway) -> None:
    gateway.next_refusals["SubmitPartnerApplication"].extend([UNAVAILABLE] * 6)
    shop_id = marketplace.open_shop()
    pauses = []
    for attempts in range(1, 7):
        await marketplace.take_openings_on()
        shop = marketplace.shop(shop_id)
        assert shop.attempts == attempts
        assert shop.next_attempt_time
        pauses.append(shop.next_attempt_time / 1000 - marketplace.clock.now)
        marketplace.clock.now = shop.next_attempt_time / 1000
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert RETRIES.max_seconds == 8.0


async def test_answers_that_lack_what_the_contract_promises_are_asked_for_again(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = marketplace.open_shop()
    gateway.applications[shop_id] = Application(state=Application.PENDING)  # without an id
    await marketplace.take_openings_on()
    assert marketplace.shop(shop_id).state is OpeningState.APPLYING
    gateway.applications[shop_id].application_id = "app_late"
    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.take_openings_on()

    gateway.applications[shop_id].state = Application.STATE_UNSPECIFIED
    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.take_openings_on()
    assert marketplace.shop(shop_id).state is OpeningState.IN_REVIEW

    gateway.decide(Application.APPROVED)
    marketplace.clock.now += LONG_ENOUGH_SECONDS
    await marketplace.take_openings_on()
    assert marketplace.shop(shop_id).state is OpeningState.ACTIVE


async def test_a_shop_waits_for_a_gateway_that_is_down(certificates: Path, database_url: str) -> None:
    async with running_gateway(certificates) as gateway, marketplace_on(database_url, gateway) as marketplace:
        await gateway.stop()  # its port is known, and nobody answers there
        shop_id = marketplace.open_shop()
        await marketplace.take_openings_on()
        assert marketplace.shop(shop_id).state is OpeningState.APPLYING
        assert marketplace.shop(shop_id).attempts == 1

        await gateway.start()
        while marketplace.shop(shop_id).state is OpeningState.APPLYING:  # the channel reconnects by itself
            marketplace.clock.now += LONG_ENOUGH_SECONDS
            await marketplace.take_openings_on()
        assert marketplace.shop(shop_id).state is OpeningState.IN_REVIEW


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_an_opening_goes_on_where_the_process_before_left_it(
    gateway: FakeGateway, database_url: str, steps: int
) -> None:
    async with marketplace_on(database_url, gateway) as first:
        shop_id = first.open_shop()
        for _ in range(steps):
            await first.opening.step(first.shop(shop_id))
            gateway.decide(Application.APPROVED)
    async with marketplace_on(database_url, gateway) as second:
        assert second.shop(shop_id).state is list(OpeningState)[steps]
        await second.take_openings_on()
        gateway.decide(Application.APPROVED)
        second.clock.now += LONG_ENOUGH_SECONDS
        await second.take_openings_on()
        assert second.shop(shop_id).state is OpeningState.ACTIVE
    assert len(gateway.applications) == 1
    assert len(gateway.clients_of_statements) == 1


async def test_a_step_for_a_shop_that_has_moved_on_changes_nothing(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    shop_id = marketplace.open_shop()
    seen = marketplace.shop(shop_id)
    await marketplace.open_active_shop(gateway)
    active = marketplace.shop(shop_id)
    await marketplace.opening.step(seen)
    assert marketplace.shop(shop_id) == active


async def test_the_client_secret_is_not_in_the_database_url(
    marketplace: Marketplace, gateway: FakeGateway, database_url: str
) -> None:
    shop_id = await marketplace.open_active_shop(gateway)
    client_id = marketplace.shop(shop_id).client_id
    assert client_id
    files = contents(database_url)
    assert client_id.encode() in files
    assert gateway.secrets[client_id].encode() not in files


async def test_one_shop_in_trouble_does_not_hold_up_the_others(marketplace: Marketplace, gateway: FakeGateway) -> None:
    gateway.next_refusals["SubmitPartnerApplication"].append(UNAVAILABLE)
    shop_ids = [marketplace.open_shop() for _ in range(40)]
    await marketplace.take_openings_on()
    states = [marketplace.shop(shop_id).state for shop_id in shop_ids]
    assert states.count(OpeningState.IN_REVIEW) == 39
    assert states.count(OpeningState.APPLYING) == 1
