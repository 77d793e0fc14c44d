"""`sekisho.payments.v1.PartnerApplicationService`."""

from collections.abc import Callable

from sqlalchemy import Connection

from mesh.calls.wrapping import Context
from mesh.ids import new_id
from mesh.interceptors.private_token import current_caller
from mesh.serving.fields import Fields
from mesh.serving.paging import parse_page
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from payments.applications import Merchant, get_application, submit_application
from payments.once import once
from payments.servicers.messages import application_message, check_id
from payments.software_statements import StatementSigner
from payments.store.applications import list_applications
from sekisho.payments.v1 import partner_application_pb2 as application_pb
from sekisho.payments.v1 import partner_application_service_pb2 as pb
from sekisho.payments.v1 import partner_application_service_pb2_grpc as pb_grpc

_NAME_LENGTH = 200
_DESCRIPTION_LENGTH = 500


class PartnerApplicationServiceServicer(pb_grpc.PartnerApplicationServiceServicer):
    """Takes a platform's applications.

    Args:
        database: Where they are kept.
        signer: Makes software statements.
        clock: Seconds since the epoch.

    """

    def __init__(self, database: Database, signer: StatementSigner, clock: Callable[[], float]) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock

    async def SubmitPartnerApplication(
        self, request: pb.SubmitPartnerApplicationRequest, _context: Context
    ) -> application_pb.PartnerApplication:
        """Submit an application for one merchant."""
        platform_id = current_caller().platform_id
        fields = Fields()
        fields.request_id(request.request_id)
        merchant = _merchant(fields, request)
        fields.done()

        def submit(connection: Connection) -> application_pb.PartnerApplication:
            now = to_ms(self._clock())
            return application_message(submit_application(connection, platform_id, merchant, now=now, new_id=new_id))

        return await once(self._database, platform_id, request, application_pb.PartnerApplication, submit)

    async def GetPartnerApplication(
        self, request: pb.GetPartnerApplicationRequest, _context: Context
    ) -> application_pb.PartnerApplication:
        """Get one application; if approved, with a fresh software statement."""
        platform_id = current_caller().platform_id
        fields = Fields()
        check_id(fields, "application_id", request.application_id)
        fields.done()
        application, statement = await self._database.read(
            lambda connection: get_application(
                connection, platform_id, request.application_id, self._signer, self._clock()
            )
        )
        return application_message(application, statement)

    async def ListPartnerApplications(
        self, request: pb.ListPartnerApplicationsRequest, _context: Context
    ) -> pb.ListPartnerApplicationsResponse:
        """List the platform's applications, the newest first."""
        platform_id = current_caller().platform_id
        page = parse_page(request.page_size, request.page_token)
        rows = await self._database.read(lambda connection: list_applications(connection, platform_id, page))
        rows, next_page_token = page.cut(rows, "application_id")
        return pb.ListPartnerApplicationsResponse(
            applications=map(application_message, rows), next_page_token=next_page_token
        )


def _merchant(fields: Fields, request: pb.SubmitPartnerApplicationRequest) -> Merchant:
    fields.text("merchant_name", request.merchant_name, max_length=_NAME_LENGTH)
    fields.email("contact_email", request.contact_email)
    fields.text("business_description", request.business_description, max_length=_DESCRIPTION_LENGTH)
    return Merchant(request.merchant_name, request.contact_email, request.business_description)
