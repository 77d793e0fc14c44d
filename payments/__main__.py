"""Runs the payments service: `python -m payments --config payments.yaml`."""

import sys

from mesh.serving.lifecycle import run_service
from payments.config import PaymentsConfig
from payments.server import running

if __name__ == "__main__":
    sys.exit(run_service("payments", PaymentsConfig, running, sys.argv[1:]))
