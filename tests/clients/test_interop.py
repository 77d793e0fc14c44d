"""gRPC's official interoperability suite, in Go, through the gateway: a client and a server that know nothing of it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import yaml

from cli.local.configurations import HOST, reserved_port
from mesh.access.descriptors import read_methods
from mesh.security import pki
from mesh.security.tls import dns_name
from policy.sources.descriptor_sets import read_descriptor_set
from tests import raw_http2
from tests.clients.built import ROOT, go_command, go_version, kept, run
from tests.mesh import OK, Mesh, outcome
from tests.services import Services
from tests.waiting import listens, until

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("interop")]

SUITE = "google.golang.org/grpc/interop"  # its version is in interop/go.mod
TEST, ORCA = "grpc.testing.TestService", "xds.service.orca.v3.OpenRcaService"

CASES = (
    "cancel_after_begin",
    "cancel_after_first_response",
    "channel_soak",
    "client_streaming",
    "custom_metadata",
    "empty_stream",
    "empty_unary",
    "large_unary",
    "orca_oob",
    "ping_pong",
    "rpc_soak",
    "server_streaming",
    "special_status_message",
    "status_code_and_message",
    "timeout_on_sleeping_server",
    "unimplemented_method",
    "unimplemented_service",
)
_GOOGLE = "presents a token that Google issued, of which only Google's own servers can tell whose it is"
LEFT_OUT = {
    "compute_engine_channel_credentials": _GOOGLE,
    "compute_engine_creds": _GOOGLE,
    "google_default_credentials": _GOOGLE,
    "jwt_token_creds": _GOOGLE,
    "oauth2_auth_token": _GOOGLE,
    "per_rpc_creds": _GOOGLE,
    "service_account_creds": _GOOGLE,
    "orca_per_rpc": "a server's load is for what balances on the next hop: gRPC's core keeps endpoint-load-metrics-bin",
    "pick_first_unary": "asks for the server's name, which the suite's own server in Go never gives",
}
BALANCER = {"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}
OPTIONS = {
    "orca_oob": [f"--service_config_json={json.dumps(BALANCER)}"],
    "channel_soak": ["--soak_iterations=50", "--soak_overall_timeout_seconds=60"],
    "rpc_soak": ["--soak_iterations=50", "--soak_overall_timeout_seconds=60", "--soak_num_threads=5"],
}


@pytest.fixture(scope="module")
def suite() -> Path:
    """Return the folder with client, server and contracts, built by Go's own tools if they are not there yet."""
    sources = Path(__file__).with_name("interop")

    def build(folder: Path) -> None:
        run(
            go_command(),
            "build",
            "-o",
            f"{folder}/",
            ".",
            "./peer",
            f"{SUITE}/client",
            f"{SUITE}/server",
            folder=sources,
        )
        contracts = subprocess.run([folder / "interop"], capture_output=True, check=True).stdout
        (folder / "contracts.binpb").write_bytes(contracts)

    return kept("interop", go_version(), filter(Path.is_file, sources.rglob("*")), build)


@pytest.fixture(scope="module")
def front(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Run the suite's server behind a gateway that has no contract for it but the suite's own."""
    port = reserved_port()
    with Services(tmp_path_factory.mktemp("interop") / "home") as services:
        home = services.home
        pki.issue_workload(pki.create_authority(home.pki, "workload-ca"), home.pki, "interop")
        for service in ("gateway", "authserver"):
            config = yaml.safe_load(home.config(service).read_text())
            if service == "authserver":
                config["audiences"].append("interop")
            else:
                channel = config["auth"] | {"target": f"{HOST}:{port}", "server_name": dns_name("interop")}
                sets = [str(suite / "contracts.binpb")]
                served = {"name": "interop", "channel": channel, "services": [TEST, ORCA], "descriptor_sets": sets}
                config["backends"].append(served)
                config["grants"] = "grants.yaml"
            home.config(service).write_text(yaml.safe_dump(config))
        (home.folder("gateway") / "grants.yaml").write_text(yaml.safe_dump({"grants": grants(suite)}))
        files = [f"--tls_cert_file={home.pki / 'interop.pem'}", f"--tls_key_file={home.pki / 'interop-key.pem'}"]
        with subprocess.Popen([suite / "server", f"--port={port}", "--use_tls", *files]) as server:
            try:
                services.start("authserver", "gateway")
                until(lambda: listens(port))
                with services.mesh() as mesh:
                    yield mesh
            finally:
                server.kill()


def grants(suite: Path) -> list[dict[str, object]]:
    """Let operators call all of the test service. The suite's client asks for load reports without any metadata."""
    methods = read_methods(read_descriptor_set(suite / "contracts.binpb")).values()
    return [
        {"methods": [each.path for each in methods if each.service == TEST], "client_types": ["OPERATOR"]},
        {"methods": [each.path for each in methods if each.service == ORCA], "public": True},
    ]


def run_case(suite: Path, front: Mesh, case: str, token: str) -> subprocess.CompletedProcess[str]:
    host, _, port = front.addresses["gateway"].rpartition(":")
    where = [f"--server_host={host}", f"--server_port={port}"]
    tls = ["--use_tls", "--use_test_ca", f"--ca_file={front.addresses['ca']}"]
    bearer = f"--additional_metadata=authorization:Bearer {token}"
    command = [suite / "client", f"--test_case={case}", *where, *tls, bearer, *OPTIONS.get(case, [])]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("case", CASES)
def test_the_case_passes_through_the_gateway(suite: Path, front: Mesh, case: str) -> None:
    told = run_case(suite, front, case, front.token("operator"))
    assert told.returncode == 0, told.stderr


def test_without_a_token_that_is_for_it_the_suite_fails(suite: Path, front: Mesh) -> None:
    for token, says in (("sat_none", "Unauthenticated"), (front.token("wallet"), "PermissionDenied")):
        told = run_case(suite, front, "empty_unary", token)
        assert told.returncode != 0
        assert says in told.stderr


def silent_for(channel: grpc.Channel, token: str, seconds: int) -> tuple[str, str]:
    """Ask the suite's server for one answer after a silence; return status and reason."""
    parameters = b"\x08\x01\x10" + varint(seconds * 1_000_000)  # ResponseParameters: size, interval_us
    request = b"\x12" + varint(len(parameters)) + parameters  # StreamingOutputCallRequest: response_parameters
    metadata = [("authorization", f"Bearer {token}")]
    try:
        answers = list(channel.unary_stream(f"/{TEST}/StreamingOutputCall")(request, metadata=metadata, timeout=60))
    except grpc.RpcError as error:
        return outcome(error)
    assert len(answers) == 1
    return OK


def varint(number: int) -> bytes:
    low, high = number % 128, number // 128
    return bytes([low + 128]) + varint(high) if high else bytes([low])


@contextmanager
def another_gateway(front: Mesh, folder: Path, **backend: object) -> Iterator[int]:
    """Run a second gateway, whose backend differs in some settings; yield its port."""
    config, port = front.config("gateway"), reserved_port()
    config["listeners"][0]["server"]["listen"] = f"{HOST}:{port}"
    config["grants"] = str(front.home.folder("gateway") / "grants.yaml")
    config["backends"][-1] |= backend
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "gateway", "--config", folder / "gateway.yaml"]
    with (folder / "gateway.log").open("wb") as log, subprocess.Popen(command, stderr=log) as gateway:
        try:
            until(lambda: listens(port))
            yield port
        finally:
            gateway.kill()


def test_a_server_that_takes_few_pings_may_be_silent_for_long(front: Mesh, tmp_path: Path) -> None:
    """The server is grpc-go's with all its defaults: a ping each second is far more often than it permits."""
    token, seconds = front.token("operator"), 6
    with another_gateway(front, tmp_path, keepalive_seconds=1) as port, front.channel(f"{HOST}:{port}") as impatient:
        assert silent_for(impatient, token, seconds) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
    assert silent_for(front.gateway, token, seconds) == OK


@contextmanager
def http_server(suite: Path, front: Mesh) -> Iterator[str]:
    """Run the suite's service by Go's own HTTP server; yield its address."""
    address = f"{HOST}:{reserved_port()}"
    files = [front.home.pki / "interop.pem", front.home.pki / "interop-key.pem"]
    with subprocess.Popen([suite / "interop", address, *files]) as server:
        try:
            until(lambda: listens(int(address.rpartition(":")[2])))
            yield address
        finally:
            server.kill()


async def test_what_is_for_one_hop_does_not_disturb_a_server_that_refuses_it(
    suite: Path, front: Mesh, tmp_path: Path
) -> None:
    names = "keep-alive proxy-connection proxy-authorization transfer-encoding upgrade expect trailer content-length"
    ca, bearer = Path(front.addresses["ca"]), (b"authorization", f"Bearer {front.token('operator')}".encode())
    with http_server(suite, front) as address:
        channel = front.config("gateway")["backends"][-1]["channel"] | {"target": address}
        with another_gateway(front, tmp_path, channel=channel) as port:
            for name in names.split():
                headers, message = [bearer, (name.encode(), b"7")], raw_http2.grpc_message(b"")
                answer = await raw_http2.post(port, ca, f"/{TEST}/EmptyCall", headers, open_data=message, data=b"")
                assert answer.status == 0, name


@pytest.mark.parametrize("workload", ["gateway", "payments"])
def test_a_backend_in_go_tells_the_gateway_from_other_workloads_as_the_tutorial_says(
    suite: Path, front: Mesh, workload: str
) -> None:
    shown = (Path(__file__).with_name("interop") / "peer" / "from_gateway.go").read_text()
    assert shown[shown.index("func fromGateway") :] in (ROOT / "docs" / "any-service.md").read_text()
    pki, address = front.home.pki, f"{HOST}:{reserved_port()}"
    files = [pki / "interop.pem", pki / "interop-key.pem", pki / "workload-ca.pem"]
    with subprocess.Popen([suite / "peer", address, *files]) as server:
        try:
            until(lambda: listens(int(address.rpartition(":")[2])))
            names = ("workload-ca.pem", f"{workload}-key.pem", f"{workload}.pem")
            credentials = grpc.ssl_channel_credentials(*((pki / name).read_bytes() for name in names))
            name = [("grpc.ssl_target_name_override", dns_name("interop"))]
            with grpc.secure_channel(address, credentials, name) as channel:
                calling = channel.unary_unary("/a.B/C")
                if workload == "gateway":
                    assert calling(b"", timeout=20) == b""
                else:
                    with pytest.raises(grpc.RpcError) as refused:
                        calling(b"", timeout=20)
                    assert outcome(refused.value)[0] == "PERMISSION_DENIED"
        finally:
            server.kill()


def test_no_case_of_the_suite_is_forgotten(suite: Path) -> None:
    told = subprocess.run([suite / "client", "-h"], capture_output=True, text=True, check=False).stderr
    listed = re.findall(r"^\s+(\w+) ?: ", told.partition("Valid options are:")[2], re.MULTILINE)
    assert len(listed) > 20
    assert {*listed, "channel_soak", "rpc_soak"} == {*CASES, *LEFT_OUT}
