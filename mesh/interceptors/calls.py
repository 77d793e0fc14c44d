"""Begins and ends each call: its record, the status of what went wrong, its log line."""

import time
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import grpc
import structlog

from mesh.access.descriptors import service_of
from mesh.calls import request_id
from mesh.calls.call_record import CallRecord, Observer, begin, end
from mesh.calls.peers import workload_of
from mesh.calls.wrapping import Context, Handler, Run, wrap
from mesh.errors import Code, MetadataTooLarge, ServiceError
from mesh.interceptors.errors import abort
from mesh.telemetry.logging import log_call

_log = structlog.get_logger()

# What HTTP/2 counts for each entry of metadata besides name and value (RFC 9113 §6.5.2).
_ENTRY_BYTES = 32
_STATUS_NAMES = {status.value[0]: status.name for status in grpc.StatusCode}
_OK, _CANCELLED = grpc.StatusCode.OK.name, grpc.StatusCode.CANCELLED.name


class Internal(ServiceError):
    """Something broke that the caller can't mend. What it was is in the log, under the call's request id."""

    code = Code.INTERNAL


class CallInterceptor:
    """Keeps a record of each call, under the caller's `x-request-id`, so that log lines join across services.

    What inner interceptors and the handler raise is answered here, so the log says what went out: a `ServiceError` with
    its status and details, anything else with INTERNAL. When the call has ended, the log has a line of it.

    Args:
        observers: Are told of each call that has ended, before the log is.
        with_workloads: Whether callers show certificates.
        max_metadata_bytes: The most metadata of a call, by HTTP/2's count.
        silent: The services of whose calls nobody is told: what load balancers and supervisors ask for all the time
            says nothing about traffic.

    """

    def __init__(
        self,
        observers: Sequence[Observer],
        *,
        with_workloads: bool,
        max_metadata_bytes: int,
        silent: Collection[str] = (),
    ) -> None:
        self._observers = (*observers, log_call)
        self._with_workloads = with_workloads
        self._max_metadata_bytes = max_metadata_bytes
        self._silent = frozenset(silent)

    def intercept(self, path: str, handler: Handler | None) -> Handler | None:
        """Wrap the handler."""
        silent = service_of(path) in self._silent

        async def call(run: Run, request: object, context: Context) -> object:
            start = time.perf_counter()
            record = CallRecord(path, status=_CANCELLED)  # if nobody comes to write another
            begin(record)
            try:
                self._describe(record, context)
                answer = await run(request, context)
                if record.status == _CANCELLED:  # what answers for somebody else has written down that call's
                    record.status = _status_name(context)
            except grpc.aio.AbortError:
                record.status = _status_name(context)
                raise
            except grpc.aio.InternalError:  # the caller is gone, and can't be told
                raise
            except ServiceError as error:
                await _refuse(record, context, error)
            except Exception:  # noqa: BLE001 - the last resort: what it was goes to the log, not to the caller
                _log.exception("unexpected error")
                await _refuse(record, context, Internal("internal error"))
            finally:
                record.seconds = time.perf_counter() - start
                if not silent:
                    end(record, self._observers)
            return answer

        return wrap(handler, call)

    def _describe(self, record: CallRecord, context: Context) -> None:
        """Write down who calls, and with what."""
        metadata = context.invocation_metadata() or ()
        size, presented = 0, None
        for key, value in metadata:
            size += len(key) + len(value) + _ENTRY_BYTES
            if key == request_id.KEY and presented is None and isinstance(value, str):
                presented = value
        # It stays for the whole call: grpc.aio runs all of it in one task.
        record.request_id = request_id.adopt(presented)
        record.address = context.peer()
        record.workload = (workload_of(context) or "") if self._with_workloads else ""
        if size > self._max_metadata_bytes:
            del metadata, key, value, presented  # by which the error would hold it
            raise MetadataTooLarge("the call has too much metadata")
        record.metadata = tuple(metadata)


async def _refuse(record: CallRecord, context: Context, error: ServiceError) -> NoReturn:
    record.reason = error.reason
    try:
        await abort(context, error)
    except grpc.aio.AbortError:
        record.status = _status_name(context)
        raise


def _status_name(context: Context) -> str:
    code: Any = context.code()  # grpc.aio hands back the number, 0 if nothing was set
    return _STATUS_NAMES[code] if isinstance(code, int) else _OK if code is None else code.name
