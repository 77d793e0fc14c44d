"""Answers whether a call may pass (envoy.service.auth.v3)."""

from envoy_plane.asked_call import AskedCall, bearer, refusal_headers, socket_name
from envoy_plane.doors import Doors
from envoy_plane.facts import facts_of
from envoy_plane.kept_decisions import KeptDecisions
from mesh.calls.call_record import current_call
from mesh.calls.metadata import AUTHORIZATION
from mesh.calls.wrapping import Context
from mesh.errors import Code, ServiceError
from sekisho.envoy import external_authorization_pb2 as pb
from sekisho.envoy import external_authorization_pb2_grpc as pb_grpc
from sekisho.envoy.http_pb2 import HttpStatus

_HTTP_OK = 200  # as every answer of gRPC; the status is in the headers


class AuthorizationServicer(pb_grpc.AuthorizationServicer):
    """Judges calls for Envoy, as the gateway judges its own.

    Args:
        doors: Where calls come in.
        kept: What Envoy may keep.

    """

    def __init__(self, doors: Doors, kept: KeptDecisions) -> None:
        self._doors = doors
        self._kept = kept

    async def Check(self, request: pb.CheckRequest, _context: Context) -> pb.CheckResponse:  # noqa: N802 - named by the contract
        """Judge one call."""
        attributes = request.attributes
        source, http = attributes.source.address.socket_address, attributes.request.http
        call = AskedCall.of(http.path, socket_name(source.address, source.port_value), http.header_map)
        record = current_call()
        door = self._doors.of(record.metadata)
        call.describe(record)
        limited = door.limited(call)
        try:
            exchanged = await door.admit(call, limited)
        except ServiceError as error:
            record.reason, record.status = error.reason, Code(error.code).name
            return pb.CheckResponse(
                status=pb.Status(code=error.code),
                denied_response=pb.DeniedHttpResponse(status=HttpStatus(code=_HTTP_OK), headers=refusal_headers(error)),
                dynamic_metadata=facts_of(record),
            )
        finally:
            limited.end()
        allowed, facts = pb.OkHttpResponse(), facts_of(record)
        if exchanged is None:
            allowed.headers_to_remove.append(AUTHORIZATION)
        else:
            allowed.headers.append(bearer(exchanged.private_token))
            if keep := self._kept.keepable(record, call.path, exchanged):
                facts.update({"keep": keep})
        return pb.CheckResponse(status=pb.Status(), ok_response=allowed, dynamic_metadata=facts)
