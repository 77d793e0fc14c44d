"""What Envoy reaches: backends and checkpoint."""

from urllib.parse import unquote

from envoy_plane.rendering.secrets import Secrets
from envoy_plane.rendering.typed import Json, typed
from mesh.config import ChannelConfig, ConfigError

CHECKPOINT = "sekisho-checkpoint"

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONNECT_SECONDS = "2s"
_UNBOUNDED = 1_000_000  # calls are bounded at the doors


def backend(name: str, channel: ChannelConfig, secrets: Secrets, *, health_checked: bool) -> Json:
    """Return the cluster of a backend."""
    return _cluster(name, channel, secrets, health_checked=health_checked)


def checkpoint(channel: ChannelConfig, secrets: Secrets) -> Json:
    """Return the cluster of the checkpoint."""
    return _cluster(CHECKPOINT, channel, secrets, health_checked=True)


def _cluster(name: str, channel: ChannelConfig, secrets: Secrets, *, health_checked: bool) -> Json:
    kind, addresses = _addresses(channel.target)
    host = addresses[0][0]
    cluster: Json = {
        "name": name,
        "type": kind,
        "connect_timeout": _CONNECT_SECONDS,
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(*each)}} for each in addresses]}],
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: typed(_HTTP_OPTIONS, explicit_http_config={"http2_protocol_options": {}})
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": secrets.upstream(name, channel, host),
        },
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": _UNBOUNDED, "max_pending_requests": _UNBOUNDED, "max_requests": _UNBOUNDED}
            ]
        },
        # As the gateway does: an address whose connections break is left out for a while, half of them at most.
        "outlier_detection": {
            "consecutive_5xx": 0,
            "enforcing_consecutive_5xx": 0,
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 5,
            "interval": "10s",
            "base_ejection_time": "10s",
            "max_ejection_time": "300s",
            "max_ejection_percent": 50,
        },
    }
    if kind == "STRICT_DNS":
        cluster["dns_refresh_rate"] = "5s"
        cluster["respect_dns_ttl"] = False
    if health_checked:
        cluster["health_checks"] = [
            {
                "timeout": "1s",
                "interval": "5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ]
    return cluster


def _addresses(target: str) -> tuple[str, list[tuple[str, int]]]:
    """Return how to find the addresses of a gRPC target (`name-syntax`), and what to look up."""
    scheme, _, rest = target.partition(":")
    if scheme in {"ipv4", "ipv6"}:
        return "STATIC", [_host_and_port(each, target) for each in rest.split(",")]
    if scheme == "dns":
        rest = rest.rpartition("/")[2]
    elif scheme in {"unix", "unix-abstract", "xds", "vsock"}:
        raise ConfigError(f"{target}: Envoy's configuration can't be rendered for such a target; use dns, ipv4 or ipv6")
    else:
        rest = target
    host, port = _host_and_port(rest, target)
    return ("STATIC" if _is_ip(host) else "STRICT_DNS"), [(host, port)]


def _host_and_port(text: str, target: str) -> tuple[str, int]:
    host, _, port = unquote(text).rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"{target}: the target must name a port, as in dns:///payments.internal:7443")
    return host.strip("[]"), int(port)


def _is_ip(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
