import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from mesh import request_id
from tests.unit.mesh.echo_servers import UNARY, echoing, unary


async def current(_: bytes, __: object) -> bytes:
    return dict(request_id.outgoing())[request_id.KEY].encode()


def adopted(certificates: Path, *metadata: tuple[str, str]) -> str:
    async def story() -> bytes:
        async with echoing(certificates, unary(current)) as channel:
            answer: bytes = await channel.unary_unary(UNARY)(b"", metadata=metadata)
            return answer

    return asyncio.run(story()).decode()


def test_the_callers_request_id_is_adopted_and_logged(
    certificates: Path, log_lines: list[MutableMapping[str, Any]]
) -> None:
    assert adopted(certificates, ("x-request-id", "abc-1")) == "abc-1"
    assert [line["request_id"] for line in log_lines if line["event"] == "call"] == ["abc-1"]


@pytest.mark.parametrize("presented", ["a b", "a" * 65, '{"admin":true}', "a;b", ""])
def test_a_malformed_request_id_is_replaced(certificates: Path, presented: str) -> None:
    found = adopted(certificates, ("x-request-id", presented))
    assert found not in ("", presented)
    assert presented == "" or presented not in found


def test_a_call_without_a_request_id_gets_a_new_one(certificates: Path) -> None:
    assert adopted(certificates) != adopted(certificates)


def test_concurrent_calls_keep_their_request_ids_apart(
    certificates: Path, log_lines: list[MutableMapping[str, Any]]
) -> None:
    async def story() -> None:
        barrier = asyncio.Barrier(10)

        async def together(request: bytes, context: object) -> bytes:
            await barrier.wait()
            return await current(request, context)

        async with echoing(certificates, unary(together)) as channel:
            call = channel.unary_unary(UNARY)
            calls = [call(b"", metadata=[("x-request-id", f"call-{i}")]) for i in range(10)]
            assert [await one for one in calls] == [f"call-{i}".encode() for i in range(10)]

    asyncio.run(story())
    logged = sorted(line["request_id"] for line in log_lines if line["event"] == "call")
    assert logged == sorted(f"call-{i}" for i in range(10))
