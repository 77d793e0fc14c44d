"""One route for each method, found by its path as a whole; all else leads nowhere."""

from collections.abc import Iterable

from grpc_health.v1 import health_pb2

from envoy_plane.asked_call import LISTENER_KEY
from envoy_plane.rendering.clusters import CHECKPOINT
from envoy_plane.rendering.typed import Json, duration, typed
from mesh.access.descriptors import Method
from mesh.calls.infrastructure import HEALTH_SERVICE
from mesh.serving.reflection import REFLECTION_METHODS
from policy.routes import Route

_ROUTE = "envoy.config.route.v3.Route"
_FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
# The filter that keeps decisions.
LUA = "envoy.filters.http.lua"

_LUA_ROUTE = "envoy.extensions.filters.http.lua.v3.LuaPerRoute"
_AUTHORIZATION = "envoy.filters.http.ext_authz"
_AUTHORIZATION_ROUTE = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
_PROCESSING = "envoy.filters.http.ext_proc"
_PROCESSING_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
_NOT_FOUND = 404
_FOREVER = "0s"
_RETRIES = {
    "retry_on": "unavailable,connect-failure,refused-stream,reset-before-request",
    "num_retries": 2,
    "retry_back_off": {"base_interval": "0.05s", "max_interval": "1s"},
}


def route_configuration(listener: str, routes: Iterable[Route], timeout_seconds: float) -> Json:
    """Return where the calls of a listener go.

    Args:
        listener: Its name.
        routes: The methods that can be reached by it.
        timeout_seconds: The longest that a unary call may take.

    """
    by_path = {route.method.path: _to_backend(route, timeout_seconds) for route in routes}
    by_path |= {path: _to_checkpoint(listener) for path in _infrastructure_methods()}
    matched = {path: _action(by_path[path]) for path in sorted(by_path)}
    path_input = {
        "name": "path",
        "typed_config": typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=":path"),
    }
    host = {
        "name": listener,
        "domains": ["*"],
        "matcher": {
            "matcher_tree": {"input": path_input, "exact_match_map": {"map": matched}},
            "on_no_match": _action(_nowhere()),
        },
    }
    return {"name": listener, "virtual_hosts": [host]}


def _action(route: Json) -> Json:
    return {"action": {"name": "route", "typed_config": typed(_ROUTE, match=_calls(), **route)}}


def _calls() -> Json:
    """Match what is a gRPC call; nothing else is judged, and so nothing else goes on."""
    post = {"name": ":method", "string_match": {"exact": "POST"}}
    return {"prefix": "/", "grpc": {}, "headers": [post]}


def _to_backend(route: Route, timeout_seconds: float) -> Json:
    method = route.method
    target: Json = {"cluster": route.backend}
    if method.idempotent:
        target["retry_policy"] = _RETRIES
    if _is_stream(method):
        target |= {"timeout": _FOREVER, "idle_timeout": _FOREVER}
        target["max_stream_duration"] = {"grpc_timeout_header_max": _FOREVER}
        return {"route": target, "typed_per_filter_config": _watched()}
    longest = duration(timeout_seconds)
    target |= {"timeout": longest, "idle_timeout": longest}
    target["max_stream_duration"] = {"grpc_timeout_header_max": longest}
    if method.rule is None or method.rule.public:
        return {"route": target}
    return {"route": target, "metadata": {"filter_metadata": {LUA: {"backend": route.backend}}}}


def _to_checkpoint(listener: str) -> Json:
    """Return the way to what the checkpoint answers itself, and so also judges itself."""
    target = {"cluster": CHECKPOINT, "timeout": _FOREVER, "idle_timeout": _FOREVER}
    door = {"header": {"key": LISTENER_KEY, "value": listener}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {"route": target, "request_headers_to_add": [door], "typed_per_filter_config": _not_asked()}


def _nowhere() -> Json:
    """Return the way of what is unknown: it is judged, and nothing of it lets it pass."""
    return {"direct_response": {"status": _NOT_FOUND}}


def _not_asked() -> Json:
    return {LUA: typed(_LUA_ROUTE, disabled=True), _AUTHORIZATION: typed(_AUTHORIZATION_ROUTE, disabled=True)}


def _watched() -> Json:
    """Have a stream judged by what then watches it."""
    return {**_not_asked(), _PROCESSING: typed(_FILTER_CONFIG, config=typed(_PROCESSING_ROUTE, overrides={}))}


def _is_stream(method: Method) -> bool:
    return method.client_streaming or method.server_streaming


def _infrastructure_methods() -> list[str]:
    health = health_pb2.DESCRIPTOR.services_by_name["Health"]
    return [*(f"/{HEALTH_SERVICE}/{method.name}" for method in health.methods), *REFLECTION_METHODS]
