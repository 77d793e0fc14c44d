"""Envoy's log: a JSON line for each call, with the names that the gateway's log has."""

from envoy_plane.facts import FACTS, NAMESPACE
from envoy_plane.rendering.typed import Json, extension

_FILE_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog"


def access_log(listener: str) -> Json:
    """Return the log of a listener. Health checks say nothing about traffic, and are left out."""
    facts = ("client_id", "client_type", "partner_id", "decision", "reason", "would_refuse", "trace_id")
    line = {
        "event": "call",
        "service": "gateway",
        "listener": listener,
        "request_id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(:PATH)%",
        "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        **{name: f"%DYNAMIC_METADATA({NAMESPACE}:{FACTS}:{name})%" for name in facts},
        "status": "%GRPC_STATUS(SNAKE_STRING)%",
        "request_bytes": "%BYTES_RECEIVED%",
        "response_bytes": "%BYTES_SENT%",
        "milliseconds": "%DURATION%",
        "backend": "%UPSTREAM_CLUSTER%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "level": "info",
        "timestamp": "%START_TIME%",
    }
    return extension(
        "envoy.access_loggers.file",
        _FILE_LOG,
        path="/dev/stderr",
        log_format={"json_format": line, "omit_empty_values": True},
    )
