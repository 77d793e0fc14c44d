"""Lets a stream begin, and ends it when its token holds no more (envoy.service.ext_proc.v3)."""

from collections.abc import AsyncIterator
from contextlib import nullcontext

from google.protobuf.struct_pb2 import Struct

from envoy_plane.asked_call import AskedCall, bearer, refusal_headers, socket_name
from envoy_plane.doors import Doors
from envoy_plane.facts import FACTS, NAMESPACE, facts_of
from mesh.calls.call_record import CallRecord, current_call
from mesh.calls.metadata import AUTHORIZATION
from mesh.calls.wrapping import Context
from mesh.errors import Code, ServiceError
from sekisho.envoy import external_processing_pb2 as pb
from sekisho.envoy import external_processing_pb2_grpc as pb_grpc
from sekisho.envoy.http_pb2 import HttpStatus

# What Envoy is configured to tell of each stream, and by which filter.
SOURCE_ADDRESS = "source.address"
FILTER = "envoy.filters.http.ext_proc"

_HTTP_OK = 200  # as every answer of gRPC; the status is in the headers


class ExternalProcessorServicer(pb_grpc.ExternalProcessorServicer):
    """Watches streams for Envoy, which carries their messages.

    Args:
        doors: Where streams come in.

    """

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def Process(  # noqa: N802 - named by the contract
        self, requests: AsyncIterator[pb.ProcessingRequest], _context: Context
    ) -> AsyncIterator[pb.ProcessingResponse]:
        """Judge one stream, and stay as long as it lasts."""
        record = current_call()
        door = self._doors.of(record.metadata)
        begin = await anext(aiter(requests), None)
        if begin is None:  # the caller was gone at once
            return
        call = _call(begin)
        call.describe(record)
        limited = door.limited(call)
        try:
            exchanged = await door.admit(call, limited)
            yield _begin(record, exchanged.private_token if exchanged else None)
            async with exchanged.lasting() if exchanged else nullcontext():
                async for request in requests:
                    if request.HasField("response_trailers"):
                        yield pb.ProcessingResponse(response_trailers=pb.TrailersResponse())
        except ServiceError as error:
            record.reason, record.status = error.reason, Code(error.code).name
            yield _end(record, error)
        finally:
            limited.end()


def _call(request: pb.ProcessingRequest) -> AskedCall:
    headers = request.request_headers.headers
    path = next((each.raw_value.decode("latin-1") for each in headers.headers if each.key == ":path"), "")
    source = request.attributes[FILTER].fields[SOURCE_ADDRESS].string_value
    ip, _, port = source.rpartition(":")
    return AskedCall.of(path, socket_name(ip.strip("[]"), int(port or 0)), headers)


def _begin(record: CallRecord, private_token: str | None) -> pb.ProcessingResponse:
    mutation = pb.HeaderMutation()
    if private_token is None:
        mutation.remove_headers.append(AUTHORIZATION)
    else:
        mutation.set_headers.append(bearer(private_token))
    changed = pb.HeadersResponse(response=pb.CommonResponse(header_mutation=mutation))
    return pb.ProcessingResponse(request_headers=changed, dynamic_metadata=_named(facts_of(record)))


def _end(record: CallRecord, error: ServiceError) -> pb.ProcessingResponse:
    answer = pb.ImmediateResponse(
        status=HttpStatus(code=_HTTP_OK),
        headers=pb.HeaderMutation(set_headers=refusal_headers(error)),
        details=error.reason,
    )
    return pb.ProcessingResponse(immediate_response=answer, dynamic_metadata=_named(facts_of(record)))


def _named(facts: Struct) -> Struct:
    """Return facts under the name that they have in the log; of another filter's, it would be the filter's."""
    named = Struct()
    named.update({NAMESPACE: {FACTS: facts}})
    return named
