"""Logs each request, once, when it ends, and gives it a request id."""

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mesh import request_id
from mesh.call_record import CallRecord, begin

_log = structlog.get_logger()


class AccessLog:
    """Writes one line a request: method, path without query, peer, status, milliseconds, and what was bound inside.

    Args:
        app: What answers.

    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and log it. The id is the caller's if it is well-formed, and goes back with the answer."""
        start, status = time.perf_counter(), 0
        adopted = request_id.adopt(Headers(scope=scope).get(request_id.KEY))
        record = CallRecord(scope["path"], request_id=adopted)
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
            client = scope["client"]
            reason = {"reason": record.reason} if record.reason else {}
            _log.info(
                "request",
                **reason,
                method=scope["method"],
                path=scope["path"],
                peer=client[0] if client else "",
                status=status,
                milliseconds=round((time.perf_counter() - start) * 1000, 3),
            )
