"""`sekisho.payments.v1.PartnerReviewService`."""

from collections.abc import Callable

from mesh.calls.wrapping import Context
from mesh.ids import new_id
from mesh.interceptors.private_token import current_caller
from mesh.serving.fields import Fields
from mesh.serving.paging import parse_page
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from payments.review import approve_application, reject_application
from payments.servicers.messages import application_message, check_id
from payments.store.applications import list_pending_applications
from sekisho.payments.v1 import partner_application_pb2 as application_pb
from sekisho.payments.v1 import partner_review_service_pb2 as pb
from sekisho.payments.v1 import partner_review_service_pb2_grpc as pb_grpc

_REASON_LENGTH = 500


class PartnerReviewServiceServicer(pb_grpc.PartnerReviewServiceServicer):
    """Lets operators decide on applications, whichever platform's.

    Args:
        database: Where they are kept.
        clock: Seconds since the epoch.

    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def ListPendingPartnerApplications(
        self, request: pb.ListPendingPartnerApplicationsRequest, _context: Context
    ) -> pb.ListPendingPartnerApplicationsResponse:
        """List the applications that wait for a decision, the oldest first."""
        page = parse_page(request.page_size, request.page_token)
        rows = await self._database.read(lambda connection: list_pending_applications(connection, page))
        rows, next_page_token = page.cut(rows, "application_id")
        return pb.ListPendingPartnerApplicationsResponse(
            applications=map(application_message, rows), next_page_token=next_page_token
        )

    async def ApprovePartnerApplication(
        self, request: pb.ApprovePartnerApplicationRequest, _context: Context
    ) -> application_pb.PartnerApplication:
        """Approve an application and issue its Partner ID."""
        reviewer = current_caller().client_id
        fields = Fields()
        check_id(fields, "application_id", request.application_id)
        fields.done()
        application = await self._database.run(
            lambda connection: approve_application(
                connection, request.application_id, reviewer=reviewer, now=to_ms(self._clock()), new_id=new_id
            )
        )
        return application_message(application)

    async def RejectPartnerApplication(
        self, request: pb.RejectPartnerApplicationRequest, _context: Context
    ) -> application_pb.PartnerApplication:
        """Reject an application, with the reason that the merchant will read."""
        reviewer = current_caller().client_id
        fields = Fields()
        check_id(fields, "application_id", request.application_id)
        fields.text("rejection_reason", request.rejection_reason, max_length=_REASON_LENGTH)
        fields.done()
        application = await self._database.run(
            lambda connection: reject_application(
                connection,
                request.application_id,
                request.rejection_reason,
                reviewer=reviewer,
                now=to_ms(self._clock()),
            )
        )
        return application_message(application)
