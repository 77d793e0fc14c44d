"""`python -m authserver --config FILE` runs the auth server."""

import sys

from authserver.config import AuthServerConfig
from authserver.server import running
from mesh.serving.lifecycle import run_service

if __name__ == "__main__":
    sys.exit(run_service("authserver", AuthServerConfig, running, sys.argv[1:]))
