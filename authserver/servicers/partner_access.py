"""`sekisho.auth.v1.PartnerAccessService`."""

from collections.abc import Callable

from authserver.audit.trail import Trail
from authserver.clients.blocking import block, unblock
from authserver.revocation.feed import Feed
from mesh.access.revocation import Subject
from mesh.calls.wrapping import Context
from mesh.serving.fields import Fields
from mesh.timestamps import to_ms
from sekisho.auth.v1 import partner_access_service_pb2 as pb
from sekisho.auth.v1 import partner_access_service_pb2_grpc

_ACTOR = "workload:payments"  # the only one that may call
_ID_LENGTH = 64


class PartnerAccessServiceServicer(partner_access_service_pb2_grpc.PartnerAccessServiceServicer):
    """Blocks partners for Payments, and unblocks them."""

    def __init__(self, feed: Feed, trail: Trail, clock: Callable[[], float]) -> None:
        self._feed = feed
        self._trail = trail
        self._clock = clock

    async def BlockPartner(self, request: pb.BlockPartnerRequest, context: Context) -> pb.BlockPartnerResponse:
        """Shut the partner out."""
        del context
        partner_id, now_ms = _partner_id(request), to_ms(self._clock())
        await self._feed.run(
            lambda connection: block(connection, self._trail, _ACTOR, Subject.PARTNER, partner_id, now_ms)
        )
        return pb.BlockPartnerResponse()

    async def UnblockPartner(self, request: pb.UnblockPartnerRequest, context: Context) -> pb.UnblockPartnerResponse:
        """Let the partner in again."""
        del context
        partner_id = _partner_id(request)
        await self._feed.run(lambda connection: unblock(connection, self._trail, _ACTOR, Subject.PARTNER, partner_id))
        return pb.UnblockPartnerResponse()


def _partner_id(request: pb.BlockPartnerRequest | pb.UnblockPartnerRequest) -> str:
    fields = Fields()
    fields.text("partner_id", request.partner_id, max_length=_ID_LENGTH)
    fields.done()
    return request.partner_id
