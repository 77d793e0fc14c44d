"""`python -m gateway --config FILE` runs the gateway."""

import sys

from gateway.server import running
from mesh.serving.lifecycle import run_service
from policy.sources.gateway_config import GatewayConfig

if __name__ == "__main__":
    sys.exit(run_service("gateway", GatewayConfig, running, sys.argv[1:]))
