"""Renders Envoy's configuration."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from envoy_plane.rendering import clusters
from envoy_plane.rendering.listeners import listener
from envoy_plane.rendering.secrets import Secrets
from envoy_plane.rendering.typed import Json, extension, socket_address
from mesh.config import ConfigError
from policy.routes import Route
from policy.sources.gateway_config import GatewayConfig

# The version of Envoy that this is written for, and tested with.
ENVOY_VERSION = "1.40"
BOOTSTRAP = "envoy.yaml"

_HEAD = f"""# Rendered by `sekisho envoy render`, for Envoy {ENVOY_VERSION}.
# Change the gateway's configuration, and render again.
"""

_CONNECTIONS = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


def render(config: GatewayConfig, routes: Mapping[str, Route], folder: Path) -> Mapping[str, str]:
    """Return Envoy's configuration: the files to write to a folder, by their names; `envoy.yaml` is the first.

    The same policy gives the same files. None of them holds a secret.

    Args:
        config: Of the gateway, with its part for Envoy.
        routes: The methods behind the gateway, by their path.
        folder: Where the files will lie.

    Raises:
        ConfigError: If there is no part for Envoy, or a backend is at a target that Envoy does not know.

    """
    if config.envoy is None:
        raise ConfigError("the configuration has no part `envoy`, which says how Envoy reaches the checkpoint")
    secrets = Secrets(folder.absolute())
    listeners = [
        listener(
            each,
            config.envoy,
            [route for route in routes.values() if route.reachable_by(each.client_types)],
            config.call_timeout_seconds,
            secrets,
        )
        for each in config.listeners
    ]
    reached = [
        clusters.backend(each.name, each.channel, secrets, health_checked=each.health_checked)
        for each in config.backends
    ]
    bootstrap: Json = {
        "node": {"id": "sekisho", "cluster": "sekisho"},
        "admin": {"address": socket_address(config.envoy.admin_listen)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [clusters.checkpoint(config.envoy.checkpoint, secrets), *reached],
        },
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    _CONNECTIONS,
                    max_active_downstream_connections=sum(each.server.max_connections for each in config.listeners),
                )
            ]
        },
    }
    return {BOOTSTRAP: _HEAD + _yaml(bootstrap), **{name: _yaml(each) for name, each in secrets.files.items()}}


def _yaml(content: Json) -> str:
    return yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
