"""`sekisho top` against a running mesh."""

import json
import subprocess
import sys

from tests.mesh import Mesh


def top(mesh: Mesh, *options: str) -> list[str]:
    home = ("--home", str(mesh.home.path))
    return [sys.executable, "-c", "from cli.main import main; main()", "top", *home, *options]


def test_top_shows_what_the_mesh_does(mesh: Mesh) -> None:
    with subprocess.Popen(top(mesh, "--json"), stdout=subprocess.PIPE, text=True) as looking:
        assert looking.stdout
        for line in looking.stdout:
            view = json.loads(line)
            if any(each["method"].endswith("TokenService/IssueToken") for each in view["methods"]):
                break
            mesh.token("master")
        looking.terminate()
    assert {each["process"] for each in view["methods"]} >= {"gateway", "authserver"}
    assert (view["revocations_heard"], view["silent"], list(view["doors"])) == (True, [], ["public"])


def test_top_draws_a_table(mesh: Mesh) -> None:
    shown = subprocess.run(top(mesh, "--once", "--interval", "0.2"), check=True, capture_output=True, text=True)
    assert "revocations are heard" in shown.stdout
