"""What a gateway tells Prometheus, read as Prometheus reads it."""

from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.local.configurations import HOST, reserved_port
from cli.local.rates import Sample, samples
from tests.unit.gateway.fake_services import issue_certificates
from tests.unit.gateway.front import PARTNER_METHOD, Front, Status, failure, gateway_front


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("metrics"))


def of(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


def calls(method: str, client_type: str, decision: str, status: str) -> Sample:
    return of("sekisho_calls_total", method=method, client_type=client_type, decision=decision, status=status)


async def scraped(address: str) -> Mapping[Sample, float]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{address}/metrics")
    assert answer.status_code == 200
    return samples(text_string_to_metric_families(answer.text))


async def test_calls_are_counted_by_method_client_type_decision_and_status(folder: Path) -> None:
    address = f"{HOST}:{reserved_port()}"

    async with gateway_front(folder, metrics_listen=address) as front:
        await front.keeps_exchanges()
        before = await scraped(address)
        await front.call(b"hello")
        assert (await failure(front.call(token=None))).code() == Status.UNAUTHENTICATED
        after = await scraped(address)
        grown = {key: value - before.get(key, 0) for key, value in after.items()}
        assert grown[calls(PARTNER_METHOD, "PARTNER", "allowed", "OK")] == 1
        assert grown[calls(PARTNER_METHOD, "none", "refused", "UNAUTHENTICATED")] == 1
        assert grown[of("sekisho_refusals_total", method=PARTNER_METHOD, reason="MISSING_TOKEN")] == 1
        assert grown[of("sekisho_call_seconds_count", method=PARTNER_METHOD)] == 2
        assert grown[of("sekisho_backend_seconds_count", method=PARTNER_METHOD)] == 1
        assert grown[of("sekisho_messages_total", method=PARTNER_METHOD, direction="request")] == 1
        assert grown[of("sekisho_message_bytes_total", method=PARTNER_METHOD, direction="request")] == 5
        assert grown[of("sekisho_exchange_lookups_total", result="hit")] == 1
        assert after[of("sekisho_exchanges_kept")] == 1
        assert after[of("sekisho_revocations_heard")] == 1
        assert after[of("sekisho_door_calls", listener="public")] == 0


async def test_invented_methods_and_tokens_make_no_series(folder: Path) -> None:
    address = f"{HOST}:{reserved_port()}"

    async def invent(front: Front, number: int) -> None:
        await failure(front.call(method=f"/invented.Service{number}/Method", token=f"sat_invented_{number}"))
        await failure(front.call(token=f"sat_other_{number}"))

    async with gateway_front(folder, metrics_listen=address) as front:
        await invent(front, 0)
        before = await scraped(address)
        for number in range(1, 20):
            await invent(front, number)
        after = await scraped(address)
        assert after[calls("other", "none", "refused", "UNIMPLEMENTED")] == 20
        assert after.keys() == before.keys()


async def test_nothing_but_a_get_of_the_metrics_is_answered(folder: Path) -> None:
    address = f"{HOST}:{reserved_port()}"

    async with gateway_front(folder, metrics_listen=address), httpx.AsyncClient() as client:
        assert (await client.post(f"http://{address}/metrics", content=b"x")).status_code == 405
        assert (await client.get(f"http://{address}/")).status_code == 404
        assert (await client.get(f"http://{address}/metrics", headers={"x": "x" * 20_000})).status_code == 400
