"""`python -m envoy_plane --config FILE` runs the checkpoint that Envoy asks."""

import sys

from envoy_plane.server import running
from mesh.serving.lifecycle import run_service
from policy.sources.gateway_config import GatewayConfig

if __name__ == "__main__":
    sys.exit(run_service("checkpoint", GatewayConfig, running, sys.argv[1:]))
