"""Ends calls with what went wrong: a status with details (AIP-193)."""

import math
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from mesh.calls import request_id
from mesh.calls.error_info import DETAILS_KEY
from mesh.calls.wrapping import Context
from mesh.errors import Code, InvalidRequest, ServiceError

DOMAIN = "sekisho"

_STATUSES = {Code(status.value[0]): status for status in grpc.StatusCode if status.value[0] in set(Code)}


async def abort(context: Context, error: ServiceError) -> NoReturn:
    """End the call with the error's status and details."""
    details = ((DETAILS_KEY, status_of(error).SerializeToString()),)
    await context.abort(_STATUSES[error.code], error.message, details)


def status_of(error: ServiceError) -> Status:
    """Return an error's status with details, among them the current request id, under which the log says more."""
    details = [
        ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
        RequestInfo(request_id=request_id.current()),
        *_violations(error),
        *_retry(error),
    ]
    packed = [AnyMessage() for _ in details]
    for target, detail in zip(packed, details, strict=True):
        target.Pack(detail)
    return Status(code=error.code, message=error.message, details=packed)


def _violations(error: ServiceError) -> list[BadRequest]:
    if not isinstance(error, InvalidRequest):
        return []
    violations = [
        BadRequest.FieldViolation(field=field, description=problem) for field, problem in error.violations.items()
    ]
    return [BadRequest(field_violations=violations)]


def _retry(error: ServiceError) -> list[RetryInfo]:
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(math.ceil(error.retry_seconds * 1000))
    return [retry] if error.retry_seconds else []
