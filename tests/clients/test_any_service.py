"""What docs/any-service.md tells, done word for word."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from cli.local.configurations import HOST, reserved_port
from tests.clients.built import ROOT, grpcurl_folder

TUTORIAL = ROOT / "docs" / "any-service.md"
GATEWAY, AUTHSERVER, GREETER = "7443", "7445", "50051"


def script() -> str:
    """Return the tutorial as a shell script: files are written where they are shown, commands run where they stand."""
    _, marker, text = TUTORIAL.read_text().partition("<!-- followed by the tests, word for word -->")
    assert marker
    steps = ["set -eu"]
    for name, language, content in re.findall(
        r"(?:^`(\S+)`:\n\n)?^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    ):
        if name:
            steps.append(f"cat > {name} <<'END OF FILE'\n{content}END OF FILE")
        elif language == "sh":
            steps.append(content)
    return "\n".join(steps)


def on_free_ports(text: str) -> str:
    """Return the script with other ports; the auth server's is the second after the gateway's, as `prepare` has it."""
    while is_taken((gateway := reserved_port()) + 2):
        pass
    ports = {GATEWAY: gateway, AUTHSERVER: gateway + 2, GREETER: reserved_port()}
    assert all(port in text for port in ports)
    return re.sub("|".join(ports), lambda port: str(ports[port[0]]), text)


def is_taken(port: int) -> bool:
    with socket.socket() as server:
        try:
            server.bind((HOST, port))
        except (OSError, OverflowError):
            return True
    return False


def run(text: str, folder: Path, path: str) -> tuple[int, str, str]:
    """Run a script, and end all that it started; return its status and what it wrote."""
    out, err = folder / "out", folder / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        shell = subprocess.Popen(
            ["/bin/bash", "-c", text],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout=300)
        except subprocess.TimeoutExpired:
            status = -1
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    return status, out.read_text(), err.read_text()


@pytest.mark.timeout(600)
def test_the_tutorial_works_word_for_word(tmp_path: Path) -> None:
    text = on_free_ports(script())
    path = os.pathsep.join([str(grpcurl_folder()), str(Path(sys.executable).parent), os.environ["PATH"]])
    status, out, err = run(text, tmp_path, path)
    logs = "".join(log.read_text()[:2_000] for log in tmp_path.glob("*.log"))
    assert status == 0, out + err + logs
    told = TUTORIAL.read_text()
    assert "greeter.v1.Greeter\n" in out  # in grpcurl's list
    assert re.search(r"Greet +OPERATOR PARTNER +greetings.write", re.sub("[│┃]", "", out))  # in the policy's table
    greetings = re.findall(r"^```json\n(.*?)^```", told, re.DOTALL | re.MULTILINE)
    assert len(greetings) == 2
    assert all(greeting in out for greeting in greetings)
    refusals = re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", told, re.MULTILINE)
    assert len(refusals) == 3
    assert re.findall(r"Code: (\w+)", err) == [status for status, _ in refusals]
    assert re.findall(r'"reason": "(\w+)"', err) == [reason for _, reason in refusals]
