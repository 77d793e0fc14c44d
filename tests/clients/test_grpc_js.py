"""grpc-js, from npm, which may ask as often as one likes whether the server is there."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.built import command, npm_folder
from tests.mesh import Mesh

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def script() -> Path:
    return npm_folder("grpc_js") / "silent_stream.mjs"


@pytest.mark.parametrize(
    "method", ["/grpc.health.v1.Health/Watch", "/sekisho.payments.v1.PaymentService/WatchPayments"]
)
def test_two_pings_a_second_do_not_end_a_silent_stream_and_more_do(mesh: Mesh, script: Path, method: str) -> None:
    tenant = mesh.tenant()
    token = mesh.token_of(tenant.client_id, tenant.client_secret)
    assert pinging(mesh, script, method, token, 550) == "open"
    assert pinging(mesh, script, method, token, 100).startswith("8 ")  # RESOURCE_EXHAUSTED, for ENHANCE_YOUR_CALM


def pinging(mesh: Mesh, script: Path, method: str, token: str, interval_ms: int) -> str:
    """Return how a stream is after some seconds of pings."""
    environment = {
        **os.environ,
        "GATEWAY": mesh.addresses["gateway"],
        "CA": mesh.addresses["ca"],
        "METHOD": method,
        "TOKEN": token,
        "INTERVAL_MS": str(interval_ms),
        "SECONDS": "4",
    }
    node = [command("node"), str(script)]
    done = subprocess.run(node, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
