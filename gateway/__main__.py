"""`python -m gateway --config FILE` runs the gateway."""

import sys

from gateway.config import GatewayConfig
from gateway.server import running
from mesh.lifecycle import run_service

if __name__ == "__main__":
    sys.exit(run_service("gateway", GatewayConfig, running, sys.argv[1:]))
