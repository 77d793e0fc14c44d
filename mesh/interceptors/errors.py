"""Makes statuses of exceptions."""

import math
from typing import NoReturn

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from mesh import request_id
from mesh.error_info import DETAILS_KEY
from mesh.errors import Code, InvalidRequest, ServiceError
from mesh.interceptors.wrapping import Context, Continuation, Handler, Proceed, wrap

DOMAIN = "sekisho"


_log = structlog.get_logger()
_STATUSES = {Code(status.value[0]): status for status in grpc.StatusCode if status.value[0] in set(Code)}


class Internal(ServiceError):
    """Something broke that the caller can't mend. What it was is in the log, under the call's request id."""

    code = Code.INTERNAL


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Answers a `ServiceError` with its status and `google.rpc.ErrorInfo` (AIP-193), anything else with INTERNAL.

    Each answer carries the call's request id, too, under which the log says more.
    """

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler."""
        return wrap(await continuation(handler_call_details), _translate)


async def _translate(context: Context, proceed: Proceed) -> object:
    try:
        return await proceed()
    except (grpc.aio.AbortError, grpc.aio.InternalError):  # the latter: the caller is gone, and can't be told
        raise
    except ServiceError as error:
        structlog.contextvars.bind_contextvars(reason=error.reason)
        await abort(context, error)
    except Exception:  # noqa: BLE001 - the last resort: what it was goes to the log, not to the caller
        _log.exception("unexpected error")
        structlog.contextvars.bind_contextvars(reason=Internal.reason)
        await abort(context, Internal("internal error"))


async def abort(context: Context, error: ServiceError) -> NoReturn:
    """End the call with the error's status and details."""
    details = [
        ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
        RequestInfo(request_id=request_id.current()),
        *_violations(error),
        *_retry(error),
    ]
    packed = [AnyMessage() for _ in details]
    for target, detail in zip(packed, details, strict=True):
        target.Pack(detail)
    status = Status(code=error.code, message=error.message, details=packed)
    await context.abort(_STATUSES[error.code], error.message, ((DETAILS_KEY, status.SerializeToString()),))


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
