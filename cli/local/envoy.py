"""Envoy in the gateway's place, on this machine."""

from collections.abc import Sequence
from pathlib import Path

from cli.home import Home
from cli.rendered_envoy import binary, write
from envoy_plane.rendering.render import BOOTSTRAP, render
from mesh.config import load
from policy.routes import compile_routes
from policy.sources.contracts import read_contracts
from policy.sources.gateway_config import GatewayConfig

# The process.
ENVOY = "envoy"


def render_for(home: Home) -> None:
    """Render Envoy's configuration from the gateway's in a home."""
    config = load(home.config("gateway"), GatewayConfig)
    folder = _folder(home)
    write(folder, render(config, compile_routes(config, read_contracts(config).methods), folder))


def envoy_command(home: Home) -> Sequence[str]:
    """Return how to run Envoy as it was rendered for a home; it ends with the process that starts it.

    Raises:
        ConfigError: If there is no Envoy.

    """
    return (binary(), "-c", str(_folder(home) / BOOTSTRAP), "--use-dynamic-base-id", "--log-level", "warning")


def _folder(home: Home) -> Path:
    return home.folder(ENVOY)
