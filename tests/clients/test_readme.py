"""The README's grpcurl calls work as written."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.clients.built import ROOT, grpcurl_folder
from tests.mesh import mesh_up


def blocks() -> list[str]:
    """Return the shell blocks that come after the marker."""
    _, marker, text = (ROOT / "README.md").read_text().partition("<!-- followed by the tests, word for word -->")
    assert marker
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


@pytest.mark.timeout(600)
def test_the_calls_of_the_readme_work_word_for_word(tmp_path: Path) -> None:
    *before, refused, by_http = blocks()
    assert len(before) == 6
    folder = grpcurl_folder()
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    with mesh_up(tmp_path / ".sekisho") as mesh:
        port = mesh.addresses["gateway"].rpartition(":")[2]
        script = "\n".join(["set -eu", *before, by_http, "echo ==== refused ====", refused])
        script = script.replace("https://localhost:7447", mesh.addresses["oauth"]).replace(":7443", f":{port}")
        run = subprocess.run(
            ["/bin/bash"],
            input=script,
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    done = run.stdout.partition("==== refused ====")[0]
    assert "sekisho.auth.v1.TokenService\n" in done, run.stderr
    assert "rpc IssueToken" in done
    outsiders, _, shop = done.partition('"state": "APPROVED"')
    assert "PaymentService" not in outsiders
    assert "rpc CapturePayment" in shop
    assert 'scopes: [ "payments.write" ]' in shop
    assert '"state": "REFUNDED"' in shop
    assert shop.count('"description": "Green tea"') == 3  # refunded, in the shop's list, and by a token of HTTP's again
    assert '"state": "APPROVED"' in done, run.stderr
    assert f'"token_endpoint":"{mesh.addresses["oauth"]}/oauth2/token"' in done, run.stderr
    assert '"active":true' in done
    assert done.rstrip().endswith('{"active":false}')
    assert run.returncode != 0  # the last call fails, and says why as the README shows
    shown = re.search(r"```\nERROR:\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown
    assert shown.group(1).strip() in run.stderr
