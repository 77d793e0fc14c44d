"""Raw HTTP/2 at the gateway's door, as no gRPC client makes it: it answers or ends the connection, and stays open."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import raw_http2
from tests.fuzz.effort import cases
from tests.fuzz.mutations import mutated, spliced
from tests.loop_thread import LoopThread, loop_thread
from tests.unit.gateway.fake_services import issue_certificates
from tests.unit.gateway.front import PARTNER_METHOD, Front, gateway_front

BEARER = (b"authorization", b"Bearer sat_partner")
MESSAGE = raw_http2.grpc_message(b"hello")
UNKNOWN = 2  # gRPC itself may say INTERNAL, 13: of a path without a slash

paths = st.just(PARTNER_METHOD) | mutated(PARTNER_METHOD).filter(lambda path: len(path) < 2000)
names = st.sampled_from([b"authorization", b"x-request-id", b"grpc-timeout", b"grpc-encoding", b"x-a", b"a-bin", b"te"])
values = st.binary(max_size=60) | spliced(BEARER[1]) | st.sampled_from([b"1n", b"99999999H", b"-1S", b"gzip", b"=" * 9])
headers = st.lists(st.tuples(names | st.binary(min_size=1, max_size=12), values), max_size=4)
# What a message's length says and how many bytes follow may be any two things.
lengths = st.builds(
    lambda flag, size, body: bytes([flag]) + size.to_bytes(4) + body,
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=20),
)
bodies = st.just(MESSAGE) | spliced(MESSAGE) | lengths | st.binary(max_size=60) | st.just(MESSAGE * 3) | st.just(b"")


class Door:
    """A gateway on a loop of its own, and what is sent to it by hand."""

    def __init__(self, loop: LoopThread, front: Front) -> None:
        self._loop = loop
        self._front = front

    def post(self, path: str, headers: raw_http2.Headers, data: bytes) -> raw_http2.Answer:
        return self._loop.run(self._front.post(headers, data, method=path))

    @property
    def reached(self) -> int:
        """How many calls have reached the backend."""
        return len(self._front.backend.calls)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = issue_certificates(tmp_path_factory.mktemp("door"))
    with loop_thread() as loop, loop.entered(gateway_front(folder)) as front:
        yield Door(loop, front)


@given(paths, st.sampled_from([[], [BEARER]]), headers, bodies)
@cases(25, seconds=raw_http2.PATIENCE_SECONDS)
def test_whatever_is_sent_is_answered_and_the_door_stays_open(
    door: Door, path: str, bearer: list[tuple[bytes, bytes]], headers: list[tuple[bytes, bytes]], data: bytes
) -> None:
    start = time.monotonic()
    answer = door.post(path, [*bearer, *headers], data)
    assert answer.status != UNKNOWN
    assert time.monotonic() - start < raw_http2.PATIENCE_SECONDS / 2
    assert door.post(PARTNER_METHOD, [BEARER], MESSAGE).status == 0


@given(spliced(BEARER[1]))
@cases(25, seconds=raw_http2.PATIENCE_SECONDS)
def test_no_header_but_the_one_with_the_token_reaches_the_backend(door: Door, value: bytes) -> None:
    before = door.reached
    door.post(PARTNER_METHOD, [(b"authorization", value)], MESSAGE)
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"bearer" or not token.startswith(b"sat_"):
        assert door.reached == before


async def test_a_path_that_is_no_text_ends_no_server(tmp_path: Path) -> None:
    async with gateway_front(issue_certificates(tmp_path)) as front:
        await front.post([(b":path", b"/a\xbb/b")], MESSAGE)
        assert (await front.post([BEARER], MESSAGE)).status == 0
