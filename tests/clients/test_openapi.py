"""The OpenAPI description satisfies Spectral, from npm."""

import subprocess

import pytest

from tests.clients.built import ROOT, npm_folder


@pytest.mark.timeout(600)
def test_spectral_finds_nothing_to_complain_about() -> None:
    folder = npm_folder("spectral")
    lint = [folder / "node_modules" / ".bin" / "spectral", "lint", "--ruleset", folder / "rules.yaml"]
    description = ROOT / "authserver" / "http" / "openapi.json"
    done = subprocess.run(
        [*lint, "--fail-severity", "hint", description], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
