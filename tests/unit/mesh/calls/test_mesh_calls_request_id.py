import asyncio
import contextvars

import pytest

from mesh.calls import request_id


@pytest.mark.parametrize("presented", ["a", "a" * 64, "A-b_c.0", "shp_1.applying"])
def test_a_well_formed_request_id_is_adopted(presented: str) -> None:
    assert contextvars.copy_context().run(request_id.adopt, presented) == presented


@pytest.mark.parametrize("presented", [None, "", "a" * 65, "a b", "a\n", "é", "a;b", '"', "{}", "a/b", "\x1b[2J"])
def test_a_malformed_or_missing_request_id_is_replaced(presented: str | None) -> None:
    context = contextvars.copy_context()
    first, second = context.run(request_id.adopt, presented), context.run(request_id.adopt, presented)
    assert first != presented
    assert first != second
    assert first.isalnum()


def test_the_current_request_id_is_handed_on() -> None:
    def hand_on() -> tuple[tuple[str, str], ...]:
        request_id.adopt("abc")
        return request_id.outgoing()

    assert contextvars.copy_context().run(hand_on) == (("x-request-id", "abc"),)
    assert contextvars.Context().run(request_id.outgoing) == ()


async def test_tasks_have_their_own_request_ids() -> None:
    async def call(presented: str, barrier: asyncio.Barrier) -> str:
        request_id.adopt(presented)
        await barrier.wait()
        return dict(request_id.outgoing())[request_id.KEY]

    barrier = asyncio.Barrier(3)
    assert await asyncio.gather(*(call(presented, barrier) for presented in "abc")) == ["a", "b", "c"]
