"""A mesh of `sekisho up` is watched, and restricted while it runs."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

from sekisho.payments.v1 import ledger_service_pb2 as ledger_pb
from tests.mesh import OK, mesh_up, sekisho
from tests.waiting import until

CLOSED = """restrictions:
  - name: no-ledger-today
    methods: [/sekisho.payments.v1.LedgerService/*]
    closed: true
"""


def test_restrictions_are_followed_as_their_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "restrictions.yaml"
    file.write_text("restrictions: []\n")
    with mesh_up(tmp_path / "home", restrictions=file) as mesh:
        operator = mesh.token("operator")

        def look() -> tuple[str, str]:
            return mesh.attempt(mesh.ledger.GetTrialBalance, ledger_pb.GetTrialBalanceRequest(), operator)

        assert look() == OK
        file.write_text(CLOSED)
        until(lambda: look() == ("PERMISSION_DENIED", "RESTRICTED"))
        file.write_text("restrictions: []\n")
        until(lambda: look() == OK)


class Collector(pb_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.services = set[str]()

    def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802 - named by the protocol
        for each in request.resource_spans:
            named = {attribute.key: attribute.value.string_value for attribute in each.resource.attributes}
            self.services.add(named["service.name"])
        return pb.ExportTraceServiceResponse()


def test_each_service_sends_its_traces_to_the_collector(tmp_path: Path) -> None:
    collector, server = Collector(), grpc.server(ThreadPoolExecutor(2))
    pb_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with mesh_up(tmp_path / "home", traces=f"http://127.0.0.1:{port}") as mesh:
        assert sekisho("demo", "--home", str(mesh.home.path)).returncode == 0
        until(lambda: collector.services == {"gateway", "authserver", "payments", "shops"})
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--traces=localhost:4317", "such as http://localhost:4317"),
        ("--restrictions=no-such-file.yaml", "no-such-file"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(tmp_path: Path, option: str, said: str) -> None:
    refused = sekisho("up", "--home", str(tmp_path / "home"), "--port", "0", option)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_restrictions_that_make_no_sense_keep_the_mesh_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "restrictions.yaml"
    file.write_text(CLOSED.replace("LedgerService", "LegderService"))
    refused = sekisho("up", "--home", str(tmp_path / "home"), "--port", "0", f"--restrictions={file}")
    assert refused.returncode == 2
    assert "LegderService" in refused.stderr
