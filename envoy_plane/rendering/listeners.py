"""The doors: where Envoy listens, what it takes, and how it asks about it."""

import math
from collections.abc import Iterable
from importlib.resources import files

from envoy_plane.asked_call import LISTENER_KEY
from envoy_plane.facts import NAMESPACE
from envoy_plane.processing import FILTER, SOURCE_ADDRESS
from envoy_plane.rendering.clusters import CHECKPOINT
from envoy_plane.rendering.log import access_log
from envoy_plane.rendering.routes import LUA, route_configuration
from envoy_plane.rendering.secrets import Secrets
from envoy_plane.rendering.typed import Json, duration, extension, socket_address
from gateway.exchange import TIMEOUT_SECONDS
from mesh.calls.metadata import AUTHORIZATION
from mesh.calls.request_id import KEY as REQUEST_ID
from policy.routes import Route
from policy.sources.gateway_config import EnvoyConfig, ListenerConfig

_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
_EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
_LUA = "envoy.extensions.filters.http.lua.v3.Lua"
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_CONNECTION_LIMIT = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"
_EARLY_MUTATION = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"

_HANDSHAKE_SECONDS = "10s"
_NEVER = "0s"
_GENERATIONS = 2  # of kept decisions
# The checkpoint waits for the auth server that long, and then has to answer.
_ASK_SECONDS = TIMEOUT_SECONDS + 1
_UNAVAILABLE = {"code": "ServiceUnavailable"}
# What only the gateway may say, and what is for one hop. Of gRPC's own, Envoy hands on what concerns the messages.
_STRIPPED_PREFIXES = ("x-sekisho-", "x-forwarded-", "x-envoy-")
_STRIPPED = (
    *("x-real-ip", "forwarded", "traceparent", "tracestate", "baggage"),
    *("grpc-previous-rpc-attempts", "grpc-trace-bin", "grpc-tags-bin"),
    *("grpc-status", "grpc-message", "grpc-status-details-bin"),
    *("keep-alive", "proxy-connection", "proxy-authorization"),
)


def listener(
    config: ListenerConfig, envoy: EnvoyConfig, routes: Iterable[Route], timeout_seconds: float, secrets: Secrets
) -> Json:
    """Return a listener.

    Args:
        config: The door.
        envoy: What else Envoy is to do.
        routes: The methods that can be reached by it.
        timeout_seconds: The longest that a unary call may take.
        secrets: Where certificates are.

    """
    server = config.server
    limit = extension(
        "envoy.filters.network.connection_limit",
        _CONNECTION_LIMIT,
        stat_prefix=config.name,
        max_connections=server.max_connections,
    )
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        _MANAGER,
        stat_prefix=config.name,
        codec_type="HTTP2",
        http2_protocol_options={
            "max_concurrent_streams": max(100, server.max_concurrent_calls),
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
        common_http_protocol_options={
            "max_connection_duration": duration(server.max_connection_age_seconds),
            "headers_with_underscores_action": "ALLOW",
        },
        drain_timeout=duration(server.max_connection_age_grace_seconds),
        max_request_headers_kb=math.ceil(2 * server.max_metadata_bytes / 1024),
        request_headers_timeout=_HANDSHAKE_SECONDS,
        stream_idle_timeout=_NEVER,
        use_remote_address=True,
        generate_request_id=True,
        preserve_external_request_id=True,
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        server_header_transformation="PASS_THROUGH",
        early_header_mutation_extensions=[_stripping()],
        access_log=[access_log(config.name)],
        route_config=route_configuration(config.name, routes, timeout_seconds),
        http_filters=[
            _kept_decisions(envoy.kept_decisions),
            _authorization(config.name),
            _processing(config.name),
            extension("envoy.filters.http.router", _ROUTER, suppress_envoy_headers=True),
        ],
    )
    tls = {"name": "envoy.transport_sockets.tls", "typed_config": secrets.downstream(config.name, server)}
    return {
        "name": config.name,
        "address": socket_address(server.listen),
        "enable_reuse_port": server.share_port,
        "filter_chains": [
            {
                "transport_socket": tls,
                "transport_socket_connect_timeout": _HANDSHAKE_SECONDS,
                "filters": [limit, manager],
            }
        ],
    }


def _stripping() -> Json:
    """Return what takes names away from outsiders that only Envoy and the checkpoint may use."""
    mutations: list[Json] = [{"remove": name} for name in _STRIPPED]
    mutations += [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in _STRIPPED_PREFIXES]
    return extension("envoy.http.early_header_mutation.header_mutation", _EARLY_MUTATION, mutations=mutations)


def _kept_decisions(capacity: int) -> Json:
    """Return what uses decisions again; it does nothing for streams, which are watched."""
    script = files(__package__).joinpath("kept_decisions.lua").read_text()
    script = script.replace("@checkpoint@", CHECKPOINT).replace("@capacity@", str(capacity // _GENERATIONS))
    return extension(LUA, _LUA, default_source_code={"inline_string": script})


def _authorization(name: str) -> Json:
    """Return what asks the checkpoint about each unary call. What can't be asked about does not pass."""
    told = [AUTHORIZATION, REQUEST_ID]
    return extension(
        "envoy.filters.http.ext_authz",
        _EXT_AUTHZ,
        grpc_service=_checkpoint(name),
        transport_api_version="V3",
        failure_mode_allow=False,
        status_on_error=_UNAVAILABLE,
        encode_raw_headers=True,
        allowed_headers={"patterns": [{"exact": each} for each in told]},
        # Asked, unless the script before it has said at last that it need not be.
        filter_enabled_metadata={
            "filter": NAMESPACE,
            "path": [{"key": "kept"}],
            "value": {"present_match": True},
            "invert": True,
        },
    )


def _processing(name: str) -> Json:
    """Return what has the checkpoint watch streams; routes of streams enable it."""
    told = [":path", AUTHORIZATION, REQUEST_ID]
    modes = {
        "request_header_mode": "SEND",
        "response_header_mode": "SKIP",
        "request_body_mode": "NONE",
        "response_body_mode": "NONE",
        "request_trailer_mode": "SKIP",
        "response_trailer_mode": "SEND",  # so that the checkpoint is with the stream until it ends
    }
    filter_ = extension(
        FILTER,
        _EXT_PROC,
        grpc_service=_checkpoint(name, timeout=_NEVER),
        processing_mode=modes,
        message_timeout=duration(_ASK_SECONDS),
        failure_mode_allow=False,
        status_on_error=_UNAVAILABLE,
        request_attributes=[SOURCE_ADDRESS],
        forward_rules={"allowed_headers": {"patterns": [{"exact": each} for each in told]}},
        metadata_options={"receiving_namespaces": {"untyped": [NAMESPACE]}},
    )
    return {**filter_, "disabled": True}


def _checkpoint(name: str, timeout: str = duration(_ASK_SECONDS)) -> Json:
    return {
        "envoy_grpc": {"cluster_name": CHECKPOINT},
        "timeout": timeout,
        "initial_metadata": [{"key": LISTENER_KEY, "value": name}],
    }
