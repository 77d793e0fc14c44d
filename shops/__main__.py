"""Runs the shops service: `python -m shops --config shops.yaml`."""

import sys

from mesh.serving.lifecycle import run_service
from shops.config import ShopsConfig
from shops.server import running

if __name__ == "__main__":
    sys.exit(run_service("shops", ShopsConfig, running, sys.argv[1:]))
