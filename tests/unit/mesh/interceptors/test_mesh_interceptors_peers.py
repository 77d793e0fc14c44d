from collections.abc import Mapping
from pathlib import Path

import grpc

from mesh.calls.error_info import read_error_info
from mesh.interceptors.peers import ANY_WORKLOAD, PeerInterceptor
from tests.unit.mesh.echo_servers import ECHO, calling, echo, echo_server, server_config, started

GATEWAY = frozenset({"gateway"})
HANDLERS = {name: grpc.unary_unary_rpc_method_handler(echo) for name in ("Unary", "Other")}
Answers = dict[tuple[str | None, str], str]


async def answers(
    certificates: Path, allowed: Mapping[str, frozenset[str]], *, mtls: bool = True, stranger: bool = False
) -> Answers:
    """Return what each workload is answered for each method: `OK`, the reason, or else the status."""

    async def ask(channel: grpc.aio.Channel, path: str) -> str:
        try:
            await channel.unary_unary(path)(b"", timeout=30)
        except grpc.aio.AioRpcError as error:
            return read_error_info(error)[0] or error.code().name
        return "OK"

    server = echo_server(server_config(certificates, mtls=mtls), HANDLERS, [PeerInterceptor(allowed)])
    found = Answers()
    folder = certificates / "stranger" if stranger else certificates
    async with started(server):
        for workload in ("gateway",) if stranger else ("gateway", "payments", "public", None):
            async with calling(server, certificates, workload, folder) as channel:
                for method in HANDLERS:
                    found[workload, method] = await ask(channel, f"/{ECHO}/{method}")
                found[workload, "Check"] = await ask(channel, "/grpc.health.v1.Health/Check")
    return found


async def test_only_the_named_workload_gets_in(certificates: Path) -> None:
    found = await answers(certificates, {ECHO: GATEWAY})
    assert found["gateway", "Unary"] == "OK"
    assert found["payments", "Unary"] == "WORKLOAD_NOT_ALLOWED"


async def test_a_methods_own_entry_wins_over_its_services(certificates: Path) -> None:
    found = await answers(certificates, {ECHO: GATEWAY, f"/{ECHO}/Other": frozenset({"payments"})})
    assert [found[workload, "Other"] for workload in ("gateway", "payments")] == ["WORKLOAD_NOT_ALLOWED", "OK"]
    assert [found[workload, "Unary"] for workload in ("gateway", "payments")] == ["OK", "WORKLOAD_NOT_ALLOWED"]


async def test_a_method_may_be_open_to_every_workload(certificates: Path) -> None:
    found = await answers(certificates, {ECHO: GATEWAY, f"/{ECHO}/Other": ANY_WORKLOAD})
    assert found["payments", "Other"] == "OK"
    assert found["payments", "Unary"] == "WORKLOAD_NOT_ALLOWED"


async def test_an_entry_without_workloads_lets_nobody_in(certificates: Path) -> None:
    found = await answers(certificates, {ECHO: frozenset()})
    assert {found["gateway", "Unary"], found["payments", "Unary"]} == {"WORKLOAD_NOT_ALLOWED"}


async def test_every_workload_may_ask_for_health(certificates: Path) -> None:
    found = await answers(certificates, {ECHO: GATEWAY})
    assert {found["gateway", "Check"], found["payments", "Check"]} == {"OK"}


async def test_whoever_shows_no_workload_certificate_gets_nowhere(certificates: Path) -> None:
    found = await answers(certificates, {ECHO: ANY_WORKLOAD})
    assert {answer for (workload, _), answer in found.items() if workload in (None, "public")} <= {
        "UNAVAILABLE",
        "WORKLOAD_NOT_ALLOWED",
    }


async def test_a_workload_of_another_company_gets_nowhere(certificates: Path) -> None:
    assert set((await answers(certificates, {ECHO: ANY_WORKLOAD}, stranger=True)).values()) == {"UNAVAILABLE"}


async def test_a_server_that_asks_for_no_certificates_lets_nobody_past_the_table(certificates: Path) -> None:
    found = await answers(certificates, {ECHO: ANY_WORKLOAD}, mtls=False)
    assert set(found.values()) == {"WORKLOAD_NOT_ALLOWED"}


async def test_a_service_that_the_table_lacks_lets_nobody_in(certificates: Path) -> None:
    found = await answers(certificates, {"test.v1.Ecko": GATEWAY})
    assert {found["gateway", "Unary"], found["payments", "Unary"]} == {"WORKLOAD_NOT_ALLOWED"}


async def test_a_table_that_names_one_method_leaves_no_other_open(certificates: Path) -> None:
    found = await answers(certificates, {f"/{ECHO}/Unary": GATEWAY})
    assert found["payments", "Other"] == "WORKLOAD_NOT_ALLOWED"
