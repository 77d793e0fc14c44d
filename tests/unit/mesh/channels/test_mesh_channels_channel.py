import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from mesh.security.tls import dns_name
from tests import raw_http2
from tests.raw_http2 import ACK, DATA, HEADERS, PING, SETTINGS, WINDOW_UPDATE
from tests.tcp_proxy import proxied
from tests.unit.mesh.echo_servers import UNARY, calling, echo_server, failure, server_config, started, unary

HALF_A_SECOND = 0.5  # a far-away or a busy machine


async def test_a_handshake_may_take_its_time(certificates: Path) -> None:
    async with (
        started(echo_server(server_config(certificates), unary())) as server,
        proxied(server.port) as way,
        calling(server, certificates, port=way.port) as channel,
    ):
        way.hold()
        call = asyncio.ensure_future(channel.unary_unary(UNARY)(b"hello"))
        ended, _ = await asyncio.wait({call}, timeout=HALF_A_SECOND)
        assert not ended
        way.release()
        assert await call == b"hello"


PATIENCE_SECONDS = 30.0
MIB = 1024 * 1024


def channel_to(certificates: Path, port: int, **keepalive: Any) -> grpc.aio.Channel:
    config = ChannelConfig(
        target=f"127.0.0.1:{port}",
        ca=certificates / "company.pem",
        server_name=dns_name("backend"),
        certificate=certificates / "gateway.pem",
        private_key=certificates / "gateway-key.pem",
    )
    return open_channel(config, **keepalive)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what happens is seen on the wire
            await asyncio.sleep(0.01)


async def test_a_silent_server_is_asked_on_and_on_whether_it_is_there_as_long_as_there_is_a_call(
    certificates: Path,
) -> None:
    async with (
        raw_http2.recording(certificates, "backend") as with_call,
        raw_http2.recording(certificates, "backend") as without,
        channel_to(certificates, with_call.port, keepalive_seconds=0.2) as channel,
        channel_to(certificates, without.port, keepalive_seconds=0.2) as idle,
    ):
        await idle.channel_ready()
        call: Any = channel.unary_stream(UNARY)(b"")
        await until(lambda: with_call.pings >= 4)
        assert without.pings == 0
        call.cancel()


async def test_it_is_asked_between_calls_if_that_is_wanted(certificates: Path) -> None:
    async with (
        raw_http2.recording(certificates, "backend") as server,
        channel_to(certificates, server.port, keepalive_seconds=0.2, keepalive_without_calls=True) as channel,
    ):
        await channel.channel_ready()
        await until(lambda: server.pings >= 4)


async def test_a_server_that_does_not_answer_is_given_up(certificates: Path) -> None:
    async with (
        raw_http2.recording(certificates, "backend") as server,
        channel_to(certificates, server.port, keepalive_seconds=0.2, keepalive_timeout_seconds=0.2) as channel,
    ):
        server.answers_pings = False
        call: Any = channel.unary_stream(UNARY)(b"")
        error = await failure(asyncio.wait_for(call.read(), PATIENCE_SECONDS))
        assert error.code() == grpc.StatusCode.UNAVAILABLE


async def test_the_window_of_a_stream_does_not_grow_with_what_comes_by_it(certificates: Path) -> None:
    message = raw_http2.grpc_message(bytes(16_000))
    room, sent, seen = {0: 65_535, 1: 65_535}, 0, set[int]()

    def answer(writer: asyncio.StreamWriter, kind: int, flags: int, stream: int, payload: bytes) -> None:
        nonlocal sent
        if not flags & ACK:
            seen.add(kind)
        if kind == SETTINGS and not flags & ACK:
            writer.write(raw_http2.encode_frame(SETTINGS, ACK, 0, b""))
        if kind == HEADERS:
            begin = raw_http2.response_headers(raw_http2.OK_HEADERS)
            writer.write(raw_http2.encode_frame(HEADERS, begin.flags, stream, begin.payload))
        if kind == WINDOW_UPDATE:
            room[stream] += int.from_bytes(payload)
        while 1 in room and kind in {HEADERS, WINDOW_UPDATE} and sent < 2 * MIB and min(room.values()) > len(message):
            writer.write(raw_http2.encode_frame(DATA, 0, 1, message))
            sent += len(message)
            room.update({each: left - len(message) for each, left in room.items()})

    async with (
        raw_http2.serving(certificates, "backend", answer) as port,
        channel_to(certificates, port) as channel,
    ):
        call: Any = channel.unary_stream(UNARY)(b"")
        for _ in range(2 * MIB // len(message)):
            assert len(await asyncio.wait_for(call.read(), PATIENCE_SECONDS)) == 16_000
        assert PING not in seen  # by pings it would learn how much more it could take
        call.cancel()
