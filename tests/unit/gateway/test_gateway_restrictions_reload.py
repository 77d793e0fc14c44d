"""The file of restrictions is replaced, spoiled and mended while the gateway runs."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.restrictions_in_force import RestrictionsInForce
from gateway.server import running
from mesh.access.decision import Restricted, judge
from mesh.access.rules import PUBLIC, Caller, ClientType, MethodRule
from mesh.calls.call_record import CallRecord, begin
from mesh.config import ConfigError
from policy.sources.gateway_config import RESTRICTIONS
from tests.unit.gateway.fake_services import FakeAuthServer, FakeBackend
from tests.unit.gateway.front import (
    PARTNER_METHOD,
    PATIENCE_SECONDS,
    PUBLIC_METHOD,
    Front,
    Status,
    gateway_config,
    gateway_front,
    outcome,
)

RULES = {"/a.Pay/Pay": MethodRule(frozenset({ClientType.PARTNER})), "/a.Pay/Look": PUBLIC}
DOORS = {"public": frozenset({ClientType.PARTNER})}
SHOP = Caller("client-1", ClientType.PARTNER, "shops", "ptn_1", frozenset())
CLOSED = {"name": "closed", "methods": ["/a.Pay/Pay"], "closed": True}


def text(*entries: dict[str, Any]) -> str:
    return json.dumps({"restrictions": entries})  # which is YAML, too


def write(file: Path, content: str) -> None:
    file.write_text(content)


def replace(file: Path, content: str) -> None:
    """Write the file as careful tools do: under another name, then in one step."""
    new = file.with_name("new.yaml")
    new.write_text(content)
    new.rename(file)


def remove(file: Path) -> None:
    file.unlink()


def link(file: Path, content: str) -> None:
    """Have the file's name lead to another one."""
    file.with_name("other.yaml").write_text(content)
    file.with_name("link").symlink_to("other.yaml")
    file.with_name("link").rename(file)


def refused(restrictions: RestrictionsInForce) -> bool:
    door = restrictions.at("public")
    verdict = judge(RULES["/a.Pay/Pay"], DOORS["public"], SHOP, door.on("/a.Pay/Pay"))
    door.count(verdict)
    return isinstance(verdict.refusal, Restricted)


@asynccontextmanager
async def in_force(file: Path, look_seconds: float = 0.02) -> AsyncIterator[tuple[RestrictionsInForce, list[bool]]]:
    restrictions, reports = RestrictionsInForce(file, RULES, DOORS), list[bool]()
    await restrictions.load()
    async with restrictions.following(reports.append, look_seconds):
        yield restrictions, reports


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "restrictions.yaml"
    write(file, text())
    return file


async def test_a_new_file_comes_into_force_however_it_is_put_there(file: Path) -> None:
    async with in_force(file) as (restrictions, reports):
        assert (refused(restrictions), restrictions.entries) == (False, 0)
        empty = restrictions.file_digest
        replace(file, text(CLOSED))
        await until(lambda: refused(restrictions))
        assert (restrictions.entries, restrictions.reloads_done) == (1, 1)
        assert restrictions.file_digest != empty
        write(file, text())  # may be seen when it is empty
        await until(lambda: not refused(restrictions) and restrictions.current)
        link(file, text(CLOSED))
        await until(lambda: refused(restrictions))
        assert reports[0]
        assert reports[-1]


async def test_a_file_that_makes_no_sense_changes_nothing_and_is_told_once(file: Path) -> None:
    bad = [text(CLOSED)[:-7], text({**CLOSED, "methods": ["/a.Pay/Pya"]})]

    replace(file, text(CLOSED))
    async with in_force(file) as (restrictions, reports):
        digest = restrictions.file_digest
        with structlog.testing.capture_logs() as lines:
            for number, content in enumerate(bad, start=1):
                replace(file, content)
                await until(lambda number=number: restrictions.reloads_failed == number)  # type: ignore[misc]
                assert refused(restrictions)
            remove(file)
            await until(lambda: len(reports) == 4)
        assert (refused(restrictions), restrictions.file_digest, restrictions.current) == (True, digest, False)
        errors = [line["error"] for line in lines if line["log_level"] == "error"]
        assert len(errors) == restrictions.reloads_failed == 3
        assert all(str(file) in error for error in errors)
        replace(file, text())
        await until(lambda: restrictions.current)
        assert not refused(restrictions)
        assert reports == [True, False, False, False, True]


async def test_sighup_has_the_file_read_at_once(file: Path) -> None:
    async with in_force(file, look_seconds=1_000) as (restrictions, _):
        for times in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda times=times: restrictions.reloads_done == times)  # type: ignore[misc]


async def test_what_only_reports_lets_pass_counts_and_tells_the_log(file: Path) -> None:
    replace(file, text({**CLOSED, "mode": "report"}, {**CLOSED, "name": "too", "mode": "report"}))
    async with in_force(file) as (restrictions, _):
        call = CallRecord("/a.Pay/Pay")
        begin(call)
        assert not refused(restrictions)
        assert call.would_refuse == ("closed", "too")
        assert restrictions.would_refuse == {"closed": 1, "too": 1}
        assert restrictions.refused == {}
        replace(file, text(CLOSED, {**CLOSED, "name": "too", "mode": "report"}))
        await until(lambda: restrictions.reloads_done == 1)
        assert refused(restrictions)
        assert (restrictions.refused, restrictions.would_refuse) == ({"closed": 1}, {})


async def health(front: Front) -> int:
    request = health_pb2.HealthCheckRequest(service=RESTRICTIONS)
    stub: Any = health_pb2_grpc.HealthStub(front.channel)
    return int((await stub.Check(request, timeout=PATIENCE_SECONDS)).status)


async def test_callers_and_health_checks_are_told_of_restrictions(certificates: Path, file: Path) -> None:
    async def becomes(front: Front, serving: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await health(front) != serving:  # noqa: ASYNC110 - another process brings it about
                await asyncio.sleep(0.02)

    no_payments = {"name": "no-payments", "methods": [PARTNER_METHOD], "deny": {"partner_ids": ["ptn_1"]}}
    replace(file, text(no_payments, {"name": "no-tokens", "methods": [PUBLIC_METHOD], "closed": True}))
    async with gateway_front(certificates, restrictions=file) as front:
        assert await outcome(front.call()) == (Status.PERMISSION_DENIED, "RESTRICTED")
        assert await outcome(front.call(method=PUBLIC_METHOD, token=None)) == (
            Status.PERMISSION_DENIED,
            "RESTRICTED",
        )
        assert await health(front) == health_pb2.HealthCheckResponse.SERVING
        replace(file, "restrictions: [")
        await becomes(front, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert await outcome(front.call()) == (Status.PERMISSION_DENIED, "RESTRICTED")
        replace(file, text())
        await becomes(front, health_pb2.HealthCheckResponse.SERVING)
        assert await front.call(b"paid") == b"paid"


async def test_a_file_that_makes_no_sense_refuses_to_start(certificates: Path, file: Path) -> None:
    replace(file, text(CLOSED))

    config = gateway_config(FakeAuthServer(certificates), FakeBackend(certificates), restrictions=file)
    with pytest.raises(ConfigError, match=r"restrictions\.yaml: restrictions\[0\], closed: there is no /a.Pay/Pay"):
        async with running(config):
            pass
