"""openid-client, from npm, works with the HTTP face as it is."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.built import command, kept, run
from tests.mesh import Mesh

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def script() -> Path:
    """Install openid-client beside the script that uses it; return the script."""
    npm, sources = command("npm"), Path(__file__).with_name("openid_client")

    def build(folder: Path) -> None:
        shutil.copytree(sources, folder, dirs_exist_ok=True)
        run(npm, "install", "--no-package-lock", "--no-audit", "--no-fund", folder=folder)

    return kept("openid-client", "", sources.iterdir(), build) / "all_the_way.mjs"


def test_openid_client_goes_all_the_way_by_a_key_of_its_own(mesh: Mesh, script: Path) -> None:
    client_id, client_secret = mesh.credentials("master")
    environment = {
        **os.environ,
        "NODE_EXTRA_CA_CERTS": mesh.addresses["ca"],
        "ISSUER": mesh.addresses["oauth"],
        "MASTER_ID": client_id,
        "MASTER_SECRET": client_secret,
        "SOFTWARE_STATEMENT": mesh.approved_application(mesh.token("master")).software_statement,
    }
    node = [command("node"), str(script)]
    done = subprocess.run(node, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen.pop("client_id") == seen.pop("introspected")
    assert seen == {
        "master_scope": "clients.write",
        "has_secret": False,
        "after": {"active": False},
        "changed": "Coffee House",
        "deleted": 204,
        "gone": 401,
    }
