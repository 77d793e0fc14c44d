import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from mesh.calls.error_info import DETAILS_KEY, read_error_info


def error_with(*trailers: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers))


def status_of(*details: Message) -> bytes:
    packed = [AnyMessage() for _ in details]
    for target, detail in zip(packed, details, strict=True):
        target.Pack(detail)
    return Status(code=5, message="gone", details=packed).SerializeToString()


INFO = ErrorInfo(reason="PAYMENT_NOT_FOUND", domain="sekisho", metadata={"payment_id": "pay_1"})


def test_reason_and_metadata_are_read() -> None:
    error = error_with(("other", "x"), (DETAILS_KEY, status_of(INFO)))
    assert read_error_info(error) == ("PAYMENT_NOT_FOUND", {"payment_id": "pay_1"})


def test_error_info_is_found_behind_other_details() -> None:
    assert read_error_info(error_with((DETAILS_KEY, status_of(BadRequest(), INFO))))[0] == "PAYMENT_NOT_FOUND"


@pytest.mark.parametrize(
    "trailers",
    [
        (),
        ((DETAILS_KEY, b""),),
        ((DETAILS_KEY, b"\xff\xff\xff"),),
        ((DETAILS_KEY, "text"),),
        ((DETAILS_KEY, status_of()),),
        ((DETAILS_KEY, status_of(BadRequest())),),
        (("grpc-status-details", status_of(INFO)),),
        ((DETAILS_KEY, status_of(INFO)[:-3]),),
    ],
)
def test_an_error_without_readable_details_has_an_empty_reason(trailers: tuple[tuple[str, str | bytes], ...]) -> None:
    assert read_error_info(error_with(*trailers)) == ("", {})


def test_a_detail_that_only_claims_to_be_error_info_has_an_empty_reason() -> None:
    mangled = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff\xff")
    value = Status(code=5, details=[mangled]).SerializeToString()
    assert read_error_info(error_with((DETAILS_KEY, value))) == ("", {})


def test_an_error_without_trailers_has_an_empty_reason() -> None:
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, None, None)  # type: ignore[arg-type]
    assert read_error_info(error) == ("", {})
