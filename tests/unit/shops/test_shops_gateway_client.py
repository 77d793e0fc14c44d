import grpc
import pytest

from mesh.calls import request_id
from sekisho.payments.v1 import partner_application_service_pb2 as service
from shops.credentials import Credentials
from shops.errors import GatewayError
from shops.gateway_client import GatewayClient
from tests.unit.shops.fake_gateway import MASTER_ID, MASTER_SECRET, FakeGateway, Refusal
from tests.unit.shops.marketplace import Marketplace

MASTER = Credentials(MASTER_ID, MASTER_SECRET)


async def submit(client: GatewayClient, credentials: Credentials = MASTER) -> str:
    request = service.SubmitPartnerApplicationRequest(request_id="some-request")
    application = await client.call(credentials, client.applications.SubmitPartnerApplication, request)
    return application.application_id


async def test_calls_carry_a_token_that_is_kept_and_the_current_request_id(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    request_id.adopt("the-caller-s-id")
    assert await submit(marketplace.gateway) == await submit(marketplace.gateway)
    assert [call.method for call in gateway.calls] == [
        "IssueToken",
        "SubmitPartnerApplication",
        "SubmitPartnerApplication",
    ]
    assert {call.request_id for call in gateway.calls} == {"the-caller-s-id"}
    assert gateway.calls[-1].client_id == MASTER_ID


async def test_a_token_is_refreshed_before_it_expires(marketplace: Marketplace, gateway: FakeGateway) -> None:
    await submit(marketplace.gateway)
    marketplace.clock.now += gateway.expires_in - 60
    await submit(marketplace.gateway)
    assert gateway.called("IssueToken") == 2


async def test_a_token_that_was_revoked_is_replaced(marketplace: Marketplace, gateway: FakeGateway) -> None:
    await submit(marketplace.gateway)
    gateway.tokens.clear()
    assert await submit(marketplace.gateway)
    assert gateway.called("IssueToken") == 2
    assert gateway.called("SubmitPartnerApplication") == 3


async def test_a_call_that_is_refused_with_a_new_token_too_is_not_repeated_again(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    refusal = Refusal(grpc.StatusCode.UNAUTHENTICATED, "INVALID_TOKEN")
    gateway.next_refusals["SubmitPartnerApplication"].extend([refusal] * 2)
    with pytest.raises(GatewayError) as refused:
        await submit(marketplace.gateway)
    assert (refused.value.code, refused.value.reason) == ("UNAUTHENTICATED", "INVALID_TOKEN")
    assert gateway.called("SubmitPartnerApplication") == 2


async def test_wrong_credentials_are_reported_and_tried_once(marketplace: Marketplace, gateway: FakeGateway) -> None:
    with pytest.raises(GatewayError) as refused:
        await submit(marketplace.gateway, Credentials(MASTER_ID, "scs_wrong"))
    assert refused.value.reason == "INVALID_CLIENT"
    assert [call.method for call in gateway.calls] == ["IssueToken"]


async def test_an_error_has_code_reason_and_metadata(marketplace: Marketplace, gateway: FakeGateway) -> None:
    refusal = Refusal(grpc.StatusCode.ALREADY_EXISTS, "SOFTWARE_STATEMENT_USED", {"client_id": "cli_7"})
    gateway.next_refusals["SubmitPartnerApplication"].append(refusal)
    with pytest.raises(GatewayError) as refused:
        await submit(marketplace.gateway)
    error = refused.value
    assert (error.code, error.reason, error.message) == ("ALREADY_EXISTS", "SOFTWARE_STATEMENT_USED", "refused")
    assert error.metadata == {"client_id": "cli_7"}


async def test_an_error_without_details_has_its_code_for_a_reason(
    marketplace: Marketplace, gateway: FakeGateway
) -> None:
    gateway.next_refusals["SubmitPartnerApplication"].append(Refusal(grpc.StatusCode.INTERNAL))
    with pytest.raises(GatewayError) as refused:
        await submit(marketplace.gateway)
    assert (refused.value.code, refused.value.reason, refused.value.metadata) == ("INTERNAL", "INTERNAL", {})
