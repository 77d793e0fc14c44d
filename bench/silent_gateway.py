"""`python -m bench.silent_gateway --config FILE` runs the gateway without its log."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from gateway import server
from mesh.serving.lifecycle import run_service
from policy.sources.gateway_config import GatewayConfig


@asynccontextmanager
async def running(config: GatewayConfig) -> AsyncIterator[object]:
    """Run the gateway as long as the context lasts, and say nothing of calls."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with server.running(config) as servers:
        yield servers


if __name__ == "__main__":
    sys.exit(run_service("gateway", GatewayConfig, running, sys.argv[1:]))
