"""What the HTTP face refuses, in the words of the OAuth RFCs: JSON with `error` and `error_description`."""

import math
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from authserver import errors
from mesh.access.decision import ClientTypeNotAllowed, InsufficientScope
from mesh.errors import Code, ServiceError

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 §5.1

_REALM = 'realm="sekisho"'
BASIC = f"Basic {_REALM}"
BEARER = f"Bearer {_REALM}"

_UNPRINTABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")  # what an error_description may not have (RFC 6749 §5.2)
_RETRY_SECONDS = 1.0

# What each refusal of the use cases is called, and its status. `invalid_client_metadata` is RFC 7591's.
_KNOWN: dict[type[ServiceError], tuple[int, str]] = {
    errors.InvalidClient: (HTTPStatus.UNAUTHORIZED, "invalid_client"),
    errors.TooManyFailures: (HTTPStatus.TOO_MANY_REQUESTS, "temporarily_unavailable"),
    errors.UnsupportedGrantType: (HTTPStatus.BAD_REQUEST, "unsupported_grant_type"),
    errors.InvalidScope: (HTTPStatus.BAD_REQUEST, "invalid_scope"),
    errors.InvalidToken: (HTTPStatus.UNAUTHORIZED, "invalid_token"),
    errors.InvalidClientMetadata: (HTTPStatus.BAD_REQUEST, "invalid_client_metadata"),
    errors.InvalidSoftwareStatement: (HTTPStatus.BAD_REQUEST, "invalid_software_statement"),
    errors.UnapprovedSoftwareStatement: (HTTPStatus.BAD_REQUEST, "unapproved_software_statement"),
    errors.SoftwareStatementUsed: (HTTPStatus.BAD_REQUEST, "invalid_software_statement"),
    errors.ClientNotFound: (HTTPStatus.UNAUTHORIZED, "invalid_token"),  # RFC 7592 §2.1
    errors.ClientQuotaExceeded: (HTTPStatus.FORBIDDEN, "access_denied"),
    ClientTypeNotAllowed: (HTTPStatus.FORBIDDEN, "insufficient_scope"),
    InsufficientScope: (HTTPStatus.FORBIDDEN, "insufficient_scope"),
}
_BY_CODE: dict[Code, tuple[int, str]] = {
    Code.INVALID_ARGUMENT: (HTTPStatus.BAD_REQUEST, "invalid_request"),
    Code.UNAVAILABLE: (HTTPStatus.SERVICE_UNAVAILABLE, "temporarily_unavailable"),
    Code.FAILED_PRECONDITION: (HTTPStatus.BAD_REQUEST, "invalid_request"),
}
_OTHERWISE = (HTTPStatus.INTERNAL_SERVER_ERROR, "server_error")


@dataclass(eq=False)
class Refused(Exception):
    """A refusal that only HTTP knows.

    Attributes:
        status: The HTTP status.
        error: The RFCs' code.
        description: One sentence for people.
        headers: Further headers.

    """

    status: int
    error: str
    description: str
    headers: dict[str, str] = field(default_factory=dict)

    def response(self, **more: str) -> JSONResponse:
        """Return what is sent."""
        words = _UNPRINTABLE.sub("'", self.description)
        content: dict[str, Any] = {"error": self.error, "error_description": words, **more}
        return JSONResponse(content, self.status, {**NO_STORE, **self.headers})


def invalid_request(description: str, status: int = HTTPStatus.BAD_REQUEST) -> Refused:
    """Return the refusal of a request that is malformed (RFC 6749 §5.2)."""
    return Refused(status, "invalid_request", description)


def no_token() -> Refused:
    """Return the refusal of a request without a bearer token (RFC 6750 §3: the challenge has no error then)."""
    return Refused(
        HTTPStatus.UNAUTHORIZED, "invalid_token", "exactly one bearer token is needed", {"WWW-Authenticate": BEARER}
    )


def of_service_error(error: ServiceError) -> JSONResponse:
    """Return what is sent of a use case's refusal."""
    status, code = _KNOWN.get(type(error)) or _BY_CODE.get(error.code, _OTHERWISE)
    headers = _headers(error, status, code)
    return Refused(status, code, error.message, headers).response(**error.metadata)


def of_http_exception(error: HTTPException) -> JSONResponse:
    """Return what is sent where no endpoint, or none for the method, is there. `Allow` stays."""
    return Refused(
        error.status_code, "invalid_request", HTTPStatus(error.status_code).phrase.lower(), dict(error.headers or {})
    ).response()


def internal_error() -> JSONResponse:
    """Return what is sent when something broke: what it was is in the log."""
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "server_error", "internal error").response()


def _headers(error: ServiceError, status: int, code: str) -> dict[str, str]:
    if code == "invalid_client":
        return {"WWW-Authenticate": BASIC}
    if code in {"invalid_token", "insufficient_scope"}:
        scope = f', scope="{error.metadata["scope"]}"' if "scope" in error.metadata else ""
        return {"WWW-Authenticate": f'{BEARER}, error="{code}"{scope}'}
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return {"Retry-After": str(math.ceil(error.retry_seconds or _RETRY_SECONDS))}
    return {}
