import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cli.demo.hops import Hop, HopReader
from cli.home import SERVICES, Home

PEOPLE = {"req-1": "merchant", "req-2": "buyer", "req-3": "operator"}


@pytest.fixture(autouse=True)
def logs_are_looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.demo.hops._PAUSE_SECONDS", 0.001)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path)
    home.logs.mkdir()
    for service in SERVICES:
        home.log(service).touch()
    return home


def line(request_id: str, **fields: Any) -> str:
    call = {
        "event": "call",
        "request_id": request_id,
        "peer": "ipv4:127.0.0.1:40000",
        "method": "/a.Pay/Pay",
        "status": "OK",
        "milliseconds": 500.0,
        "timestamp": "2026-01-02T03:04:05.500000Z",
    }
    return json.dumps({**call, **fields}) + "\n"


def write(home: Home, service: str, *texts: str) -> None:
    with home.log(service).open("a") as log:
        log.writelines(texts)


async def read(reader: HopReader, *request_ids: str) -> list[Hop]:
    return await reader.until(request_ids, PEOPLE)


async def test_a_line_becomes_a_hop(home: Home) -> None:
    reader = HopReader(home)
    refusal = {"status": "PERMISSION_DENIED", "reason": "INSUFFICIENT_SCOPE", "client_type": "PARTNER"}
    write(home, "payments", line("req-1", peer="spiffe://sekisho/gateway", **refusal))
    assert await read(reader, "req-1") == [
        Hop(
            caller="gateway",
            service="payments",
            method="a.Pay/Pay",
            client_type="PARTNER",
            status="PERMISSION_DENIED",
            reason="INSUFFICIENT_SCOPE",
            milliseconds=500.0,
            request_id="req-1",
            start=1767323045.0,
        )
    ]


async def test_only_calls_since_the_reader_began_are_read_and_each_once(home: Home) -> None:
    write(home, "gateway", line("req-1"))
    reader = HopReader(home)
    write(home, "gateway", line("req-2"))
    assert [hop.request_id for hop in await read(reader, "req-2")] == ["req-2"]
    assert await read(reader) == []
    write(home, "gateway", line("req-3"))
    assert [hop.request_id for hop in await read(reader, "req-3")] == ["req-3"]


async def test_a_line_that_is_not_written_to_its_end_is_read_later(home: Home) -> None:
    reader = HopReader(home)
    text = line("req-2", reason="ünïcode")
    for cut in range(1, len(text), 13):
        write(home, "gateway", line("req-1"), text[:cut])
        assert [hop.request_id for hop in await read(reader, "req-1")] == ["req-1"]
        write(home, "gateway", text[cut:])
        assert [hop.request_id for hop in await read(reader, "req-2")] == ["req-2"]


async def test_lines_that_are_no_calls_are_passed_over(home: Home) -> None:
    reader = HopReader(home)
    others = ('{"event": "started"}\n', "E1122 21:01:36.668044 30793 chttp2.cc:409] trouble\n", "\n", "[1]\n", "{}\n")
    write(home, "gateway", *others, line("req-1"), *others)
    assert len(await read(reader, "req-1")) == 1


async def test_a_damaged_line_is_passed_over(home: Home) -> None:
    reader = HopReader(home)
    write(home, "gateway", line("req-2")[:40] + "E1122 written into the middle\n", line("req-1"))
    assert len(await read(reader, "req-1")) == 1


async def test_hops_come_in_the_order_they_began(home: Home) -> None:
    reader = HopReader(home)
    write(home, "payments", line("req-1", milliseconds=10.0, peer="spiffe://sekisho/gateway"))
    write(home, "gateway", line("req-1", milliseconds=30.0))
    write(home, "authserver", line("req-1", milliseconds=20.0, peer="spiffe://sekisho/gateway"))
    assert [hop.service for hop in await read(reader, "req-1")] == ["gateway", "authserver", "payments"]


async def test_who_called_is_told_by_certificate_and_by_request(home: Home) -> None:
    reader = HopReader(home)
    write(home, "shops", line("req-1"))
    write(home, "gateway", line("req-1"), line("req-3"), line("made-by-shops"))
    write(home, "authserver", line("req-3", peer="spiffe://sekisho/payments"))
    callers = {(hop.service, hop.request_id): hop.caller for hop in await read(reader, "req-1", "req-3")}
    assert callers == {
        ("shops", "req-1"): "merchant",
        ("gateway", "req-1"): "shops",  # the same call, one hop on
        ("gateway", "req-3"): "operator",
        ("gateway", "made-by-shops"): "shops",
        ("authserver", "req-3"): "payments",
    }


async def test_a_line_that_lags_behind_its_answer_is_waited_for(home: Home) -> None:
    reader = HopReader(home)

    reading = asyncio.create_task(reader.until(["req-1", "req-2"], PEOPLE))
    write(home, "gateway", line("req-1"))
    await asyncio.sleep(0)
    write(home, "gateway", line("req-2"))
    assert [hop.request_id for hop in await reading] == ["req-1", "req-2"]


async def test_a_line_that_never_comes_is_not_waited_for_forever(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.demo.hops._WAIT_SECONDS", 0.1)
    reader = HopReader(home)
    write(home, "gateway", line("req-1"))
    assert [hop.request_id for hop in await read(reader, "req-1", "req-2")] == ["req-1"]
