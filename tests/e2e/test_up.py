"""`sekisho up`, `demo` and `serve` as their users meet them: processes, signals, files."""

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.databases import contents
from tests.mesh import Mesh, mesh_up, sekisho
from tests.waiting import until

UP = [sys.executable, "-c", "from cli.main import main; main()", "up", "--port", "0", "--json", "--home"]
SERVICES = ("gateway", "authserver", "payments", "shops")


def children(pid: int) -> dict[str, int]:
    """Return the services that a process runs, and their process ids."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if len(arguments) > 2 and arguments[1] == b"-m":
            found[arguments[2].decode()] = int(child)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a mesh that the test may break."""
    command = [*UP, str(tmp_path / "home")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("{")
        yield process
        process.kill()


def test_the_demo_tells_the_story_and_says_ok() -> None:
    told = sekisho("demo", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    summary = lines[-1]
    assert summary["ok"] is True
    assert summary["seconds"] < 30  # the aim is 10; a loaded machine may take longer
    hops = [hop for line in lines for hop in line.get("hops", [])]
    assert {hop["service"] for hop in hops} == set(SERVICES)
    reasons = {row["reason"] for line in lines for row in line.get("rows", []) if "reason" in row}
    assert reasons >= {"MISSING_TOKEN", "INVALID_TOKEN", "CLIENT_TYPE_NOT_ALLOWED", "METHOD_NOT_FOUND"}
    assert not Path(lines[0]["home"]).exists()  # the temporary mesh is gone


def test_the_demo_uses_the_mesh_that_is_up(mesh: Mesh) -> None:
    told = sekisho("demo", "--home", str(mesh.home.path))
    assert told.returncode == 0, told.stdout + told.stderr
    assert "came out as the story says" in told.stdout
    assert re.search(r"shops +gateway +CreatePayment +PARTNER +OK", told.stdout)


def test_everything_is_written_under_home_and_secrets_are_private(mesh: Mesh) -> None:
    for name, value in mesh.addresses.items():
        if name not in {"gateway", "shops", "oauth", "metrics"}:
            assert Path(value).is_relative_to(mesh.home.path), name
    secret = [
        path
        for path in mesh.home.path.rglob("*")
        if re.search(r"key|pepper|credentials.*json|operator|wallet.json", path.name)
    ]
    assert len(secret) > 10
    public = {"payments-statement-keys.json"}
    for path in secret:
        if path.is_file() and path.name not in public:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_no_secret_and_no_token_is_in_any_log_or_database(mesh: Mesh) -> None:
    tenant = mesh.tenant()
    token = mesh.token_of(tenant.client_id, tenant.client_secret)
    code = mesh.payment_code(mesh.wallet(10), 10)
    secrets = [tenant.client_secret, mesh.credentials("master")[1], mesh.credentials("operator")[1], token, code]
    kept = {service: contents(mesh.home.database(service)) for service in ("authserver", "payments", "shops")}
    kept |= {path.name: path.read_bytes() for path in mesh.home.logs.iterdir()}
    for where, content in kept.items():
        assert content
        assert not [secret for secret in secrets if secret.encode() in content], where


def test_sigterm_stops_everything_cleanly(up: subprocess.Popen[str]) -> None:
    pids = children(up.pid)
    assert set(pids) == set(SERVICES)
    up.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0
    assert not any(map(alive, pids.values()))


@pytest.mark.parametrize("victim", SERVICES)
def test_when_a_service_dies_all_end_and_the_command_says_which(up: subprocess.Popen[str], victim: str) -> None:
    pids = children(up.pid)
    os.kill(pids[victim], signal.SIGKILL)
    assert up.wait(60) != 0
    assert up.stderr
    assert f"{victim} ended with status -9" in up.stderr.read()
    assert not any(map(alive, pids.values()))


def test_no_service_outlives_a_supervisor_that_was_killed(up: subprocess.Popen[str]) -> None:
    pids = children(up.pid)
    up.kill()
    up.wait(30)
    until(lambda: not any(map(alive, pids.values())))


def test_a_home_holds_one_mesh(mesh: Mesh) -> None:
    second = sekisho("up", "--home", str(mesh.home.path), "--port", "0")
    assert second.returncode == 2
    assert "a mesh is up" in second.stderr


def test_a_taken_port_is_named(mesh: Mesh, tmp_path: Path) -> None:
    port = mesh.addresses["gateway"].rpartition(":")[2]
    second = sekisho("up", "--home", str(tmp_path / "home"), "--port", port)
    assert second.returncode == 2
    assert f"can't listen on 127.0.0.1:{port}" in second.stderr


def test_clients_and_shops_survive_a_restart(tmp_path: Path) -> None:
    with mesh_up(tmp_path / "home") as first:
        tenant = first.tenant()
        token = first.token_of(tenant.client_id, tenant.client_secret)
        master = first.credentials("master")
    with mesh_up(tmp_path / "home") as second:
        assert second.credentials("master") == master
        from sekisho.payments.v1 import payment_service_pb2  # noqa: PLC0415 - one use

        second.call(second.payments.ListPayments, payment_service_pb2.ListPaymentsRequest(), token)
        second.token_of(tenant.client_id, tenant.client_secret)


def test_each_service_stays_under_120_mib(mesh: Mesh) -> None:
    sekisho("demo", "--home", str(mesh.home.path))
    for service, pid in children(mesh.pid).items():
        status = Path(f"/proc/{pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak
        assert int(peak.group(1)) < 120 * 1024, service


def test_a_service_whose_configuration_is_wrong_says_where(mesh: Mesh, tmp_path: Path) -> None:
    broken = tmp_path / "gateway.yaml"
    text = mesh.home.config("gateway").read_text()
    broken.write_text(text.replace("sekisho.auth.v1.KeyService", "sekisho.auth.v1.NoService"))
    refused = sekisho("serve", "gateway", "--config", str(broken))
    assert refused.returncode == 2
    assert "service sekisho.auth.v1.NoService: no contract declares it" in refused.stderr


def test_the_health_of_the_gateway_can_be_asked_by_anyone(mesh: Mesh) -> None:
    assert mesh.gateway.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20) == b"\x08\x01"


def test_ledger_check_finds_a_damaged_row(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert sekisho("demo", "--home", str(home)).returncode == 0
    sound = sekisho("ledger", "check", "--home", str(home), "--json")
    assert sound.returncode == 0
    assert json.loads(sound.stdout)["ok"] is True
    database = sqlite3.connect(home / "payments" / "database.db")
    with database:
        changed = database.execute("UPDATE ledger_entries SET amount = amount + 1 WHERE sequence = 1 AND amount > 0")
        assert changed.rowcount
    database.close()
    damaged = sekisho("ledger", "check", "--home", str(home), "--json")
    assert damaged.returncode == 1
    assert json.loads(damaged.stdout)["findings"]


def test_an_operator_created_by_the_command_line_can_review(mesh: Mesh) -> None:
    created = sekisho("clients", "create", "operator", "alice", "--home", str(mesh.home.path), "--json")
    assert created.returncode == 0, created.stderr
    facts = json.loads(created.stdout)
    assert facts["client_type"] == "OPERATOR"
    assert mesh.token_of(facts["client_id"], facts["client_secret"])


def test_a_platform_gets_one_master_client(mesh: Mesh) -> None:
    again = sekisho("clients", "create", "master", "shops", "--home", str(mesh.home.path))
    assert again.returncode == 2
    assert "has its Master Client already" in again.stderr


def test_the_policy_table_shows_every_method_once(mesh: Mesh) -> None:
    shown = sekisho("policy", "table", "--home", str(mesh.home.path), "--json")
    rows = {row["method"]: row for row in json.loads(shown.stdout)}
    capture = rows["/sekisho.payments.v1.PaymentService/CapturePayment"]
    assert (capture["client_types"], capture["scopes"]) == (["PARTNER"], ["payments.write"])
    assert rows["/sekisho.auth.v1.TokenService/IssueToken"]["public"] is True
    assert "/sekisho.auth.v1.ExchangeService/ExchangeToken" not in rows


def test_migrate_is_done_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'payments.db'}"
    first = sekisho("migrate", "payments", "--database", url, "--json")
    assert json.loads(first.stdout)["payments"][0] == "0001"
    second = sekisho("migrate", "payments", "--database", url, "--json")
    assert json.loads(second.stdout) == {"payments": []}


def test_the_wrong_ca_is_not_trusted(mesh: Mesh) -> None:
    credentials = grpc.ssl_channel_credentials((mesh.home.pki / "workload-ca.pem").read_bytes())
    with grpc.secure_channel(mesh.addresses["gateway"], credentials) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20)
