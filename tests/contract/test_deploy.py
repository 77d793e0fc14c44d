"""The dashboard and the alarms ask for metrics that there are, and the operations page speaks of all of them."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from cli.local.configurations import HOST, reserved_port
from tests.unit.gateway.fake_services import issue_certificates
from tests.unit.gateway.front import gateway_front

ALARMS = yaml.safe_load(Path("deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads(Path("deploy/grafana/sekisho.json").read_text())["panels"]
PAGE = Path("docs/operations.md").read_text()
_METRIC = re.compile(r"\b(?:sekisho|process|python)_[a-z_]+\b")
_OWN_OF_PROMETHEUS = {"up"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names of all metrics that a gateway tells."""
    folder = issue_certificates(tmp_path_factory.mktemp("deploy"))
    address = f"{HOST}:{reserved_port()}"

    async def scrape() -> str:
        async with gateway_front(folder, metrics_listen=address), httpx.AsyncClient() as client:
            return (await client.get(f"http://{address}/metrics")).text

    return set(re.findall(r"^# TYPE (\S+)", asyncio.run(scrape()), re.MULTILINE))


def asked_for(expression: str) -> Iterator[str]:
    for name in _METRIC.findall(expression):
        yield re.sub(r"_(bucket|sum|count)$", "", name)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_shows_metrics_that_there_are(told: set[str], panel: dict) -> None:
    for target in panel["targets"]:
        names = set(asked_for(target["expr"]))
        assert names
        assert names <= told


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm["alert"])
def test_every_alarm_asks_for_metrics_that_there_are_and_is_explained(told: set[str], alarm: dict) -> None:
    names = set(asked_for(alarm["expr"]))
    assert names or alarm["expr"].startswith("up{")
    assert names <= told
    assert f"### {alarm['alert']}\n" in PAGE


def test_the_page_explains_all_metrics_and_no_others(told: set[str]) -> None:
    in_page = set(_METRIC.findall(PAGE)) - {"process_", "python_gc_"}
    own = {name for name in told if name.startswith("sekisho_")}
    assert own <= in_page
    assert in_page <= told


def test_the_dashboard_shows_every_metric(told: set[str]) -> None:
    shown = {name for panel in PANELS for target in panel["targets"] for name in asked_for(target["expr"])}
    assert {name for name in told if name.startswith("sekisho_")} <= shown
