"""The endpoints, as one ASGI application."""

from collections.abc import Awaitable, Callable

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from authserver.http.discovery import DiscoveryEndpoints
from authserver.http.refusals import Refused, internal_error, of_http_exception, of_service_error
from authserver.http.registration import RegistrationEndpoints
from authserver.http.request_records import RequestRecords
from authserver.http.tokens import TokenEndpoints
from mesh.calls.call_record import current_call
from mesh.errors import ServiceError
from mesh.telemetry.metrics import Metrics

_Endpoint = Callable[[Request], Awaitable[Response]]

_log = structlog.get_logger()


def application(
    tokens: TokenEndpoints, registration: RegistrationEndpoints, discovery: DiscoveryEndpoints, metrics: Metrics
) -> ASGIApp:
    """Return the application, whose requests are counted as calls of `POST /oauth2/token` and the like."""
    routes = [
        _route("/oauth2/token", POST=tokens.token),
        _route("/oauth2/introspect", POST=tokens.introspect),
        _route("/oauth2/revoke", POST=tokens.revoke),
        _route("/oauth2/register", POST=registration.register),
        _route(
            "/oauth2/register/{client_id}",
            GET=registration.read,
            PUT=registration.update,
            DELETE=registration.delete,
        ),
        _route("/.well-known/oauth-authorization-server", GET=discovery.metadata),
        _route("/.well-known/openid-configuration", GET=discovery.openid_configuration),
        _route("/.well-known/jwks.json", GET=discovery.keys),
        _route("/openapi.json", GET=discovery.openapi),
        _route("/", GET=discovery.page),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _on_http_exception})
    app.router.redirect_slashes = False  # a redirected POST loses its body
    metrics.add(_called(route.path, method) for route in routes for method in route.methods or ())
    return RequestRecords(app, metrics.observers)


def _route(path: str, **handlers: _Endpoint) -> Route:
    """Return a route whose handlers are named by HTTP method."""

    async def endpoint(request: Request) -> Response:
        current_call().method = _called(path, request.method)
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        try:
            return await handler(request)
        except Refused as refused:
            current_call().reason = refused.error
            return refused.response()
        except ServiceError as error:
            current_call().reason = error.reason
            return of_service_error(error)
        except Exception:  # noqa: BLE001 - the last resort: what it was goes to the log, not to the caller
            _log.exception("unexpected error")
            return internal_error()

    return Route(path, endpoint, methods=list(handlers))


def _called(path: str, method: str) -> str:
    return f"{method} {path}"


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return of_http_exception(error)
    raise error
