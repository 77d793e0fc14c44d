"""Keeps a record of each request: for the log, and for metrics."""

import time
from collections.abc import Sequence

import grpc
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mesh.calls import request_id
from mesh.calls.call_record import CallRecord, Observer, begin, end

_log = structlog.get_logger()


class RequestRecords:
    """Gives each request an id and a record, and writes one line of it when it ends.

    The line has the method, the path without its query, peer, status, milliseconds, and why it was refused.

    Args:
        app: What answers. It writes down which of its endpoints did, as the record's method.
        observers: Are told of each request that has ended.

    """

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. The id is the caller's if it is well-formed, and goes back with the answer."""
        start, status = time.perf_counter(), 0
        adopted = request_id.adopt(Headers(scope=scope).get(request_id.KEY))
        record = CallRecord(f"{scope['method']} {scope['path']}", request_id=adopted)
        begin(record)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[request_id.KEY] = adopted
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            record.seconds = time.perf_counter() - start
            record.status = str(status) if status else grpc.StatusCode.CANCELLED.name
            end(record, self._observers)
            client = scope["client"]
            reason = {"reason": record.reason} if record.reason else {}
            _log.info(
                "request",
                **reason,
                method=scope["method"],
                path=scope["path"],
                peer=client[0] if client else "",
                status=status,
                milliseconds=round(record.seconds * 1000, 3),
            )
