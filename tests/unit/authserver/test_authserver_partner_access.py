"""How Payments blocks partners."""

import pytest

from authserver.clients.register import Credentials
from sekisho.auth.v1 import partner_access_service_pb2 as pb
from tests.unit.authserver.wire import Caller, refusal, registering, statement


async def test_a_blocked_partner_is_out_until_it_is_unblocked(
    gateway: Caller, payments: Caller, shops: Credentials
) -> None:
    master = await gateway.as_client(shops)
    registered = await gateway.registrations.RegisterClient(registering(), metadata=master)
    shop = (registered.client.client_id, registered.client_secret)
    token = await gateway.token_of(*shop)
    await gateway.exchange(token, "payments")
    for _ in range(2):  # the second time nothing happens
        await payments.partners.BlockPartner(pb.BlockPartnerRequest(partner_id="ptr_1"))
        assert await refusal(gateway.exchange(token, "payments")) == ("UNAUTHENTICATED", "INVALID_TOKEN")
        assert await refusal(gateway.token_of(*shop)) == ("UNAUTHENTICATED", "INVALID_CLIENT")
        again = registering(software_statement=statement(jti="app_2"))
        refused = await refusal(gateway.registrations.RegisterClient(again, metadata=master))
        assert refused == ("PERMISSION_DENIED", "UNAPPROVED_SOFTWARE_STATEMENT")
    for _ in range(2):
        await payments.partners.UnblockPartner(pb.UnblockPartnerRequest(partner_id="ptr_1"))
        assert await refusal(gateway.exchange(token, "payments")) == ("UNAUTHENTICATED", "INVALID_TOKEN")
        await gateway.exchange(await gateway.token_of(*shop), "payments")


async def test_only_payments_may_block_and_unblock(gateway: Caller) -> None:
    for call in (
        gateway.partners.BlockPartner(pb.BlockPartnerRequest(partner_id="ptr_1")),
        gateway.partners.UnblockPartner(pb.UnblockPartnerRequest(partner_id="ptr_1")),
    ):
        assert await refusal(call) == ("PERMISSION_DENIED", "WORKLOAD_NOT_ALLOWED")


@pytest.mark.parametrize("partner_id", ["", " ", "p" * 65, "ptr\0", "ptr\n1"])
async def test_what_is_no_partner_id_is_refused(payments: Caller, partner_id: str) -> None:
    for call in (
        payments.partners.BlockPartner(pb.BlockPartnerRequest(partner_id=partner_id)),
        payments.partners.UnblockPartner(pb.UnblockPartnerRequest(partner_id=partner_id)),
    ):
        assert await refusal(call) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
