"""What a server does to its connections, as seen by a client that writes HTTP/2 by hand."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from mesh.serving import server as serving
from tests import raw_http2
from tests.raw_http2 import ACK, DATA, END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, WINDOW_UPDATE, Frame, Wire
from tests.unit.mesh.echo_servers import ECHO, UNARY, echo_server, server_config, started

READING, SILENT = f"/{ECHO}/Reading", f"/{ECHO}/Silent"
PATIENCE_SECONDS = 30.0
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 6
NO_ERROR, ENHANCE_YOUR_CALM = 0, 11


async def read_all(_requests: Any, context: Any) -> bytes:
    while await context.read() is not grpc.aio.EOF:
        pass
    return b""


async def be_silent(_requests: Any, context: Any) -> None:
    await context.send_initial_metadata(())
    await asyncio.Event().wait()


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(lambda request, _: asyncio.sleep(0, request)),
    "Reading": grpc.stream_unary_rpc_method_handler(read_all),
    "Silent": grpc.stream_stream_rpc_method_handler(be_silent),
}


@asynccontextmanager
async def wired(certificates: Path, **settings: Any) -> AsyncIterator[Wire]:
    config = msgspec.structs.replace(
        server_config(certificates, mtls=False, **{"drain_seconds": 0.1, **settings}),
        certificate=certificates / "public.pem",
        private_key=certificates / "public-key.pem",
    )
    async with (
        started(echo_server(config, HANDLERS)) as server,
        asyncio.timeout(PATIENCE_SECONDS),
        raw_http2.wired(server.port, certificates / "company.pem") as wire,
    ):
        yield wire


async def until_frame(wire: Wire, kind: int, *, acknowledging: bool = True) -> Frame:
    """Read on until a frame of a kind comes that acknowledges nothing."""
    while True:
        _, frame = await wire.read()
        if frame.kind == SETTINGS and not frame.flags & ACK and acknowledging:
            wire.send(SETTINGS, ACK, 0)
        if frame.kind == kind and not frame.flags & ACK:
            return frame


async def until_closed(wire: Wire, *, acknowledging: bool = True) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        await until_frame(wire, -1, acknowledging=acknowledging)


def error_of(goaway: Frame) -> int:
    return int.from_bytes(goaway.payload[4:8])


@pytest.mark.parametrize("open_calls", [0, 1])
async def test_a_client_may_ask_twice_a_second_whether_the_server_is_there(certificates: Path, open_calls: int) -> None:
    async with wired(certificates) as wire:
        if open_calls:
            wire.open(1, SILENT)
            await until_frame(wire, HEADERS)
        for number in range(5):
            wire.send(PING, 0, 0, number.to_bytes(8))
            answered = time.monotonic()
            while True:
                _, frame = await wire.read()
                assert frame.kind != GOAWAY
                if (frame.kind, frame.payload) == (PING, number.to_bytes(8)):
                    break
            await asyncio.sleep(answered + 0.51 - time.monotonic())


async def test_a_client_that_asks_more_often_is_cut_off(certificates: Path) -> None:
    async with wired(certificates) as wire:
        for number in range(4):  # no more than it takes: what comes to a connection that is cut off breaks it
            wire.send(PING, 0, 0, number.to_bytes(8))
        assert error_of(await until_frame(wire, GOAWAY)) == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("open_calls", [0, 1])
async def test_a_silent_client_is_asked_whether_it_is_there_and_disconnected_if_not(
    certificates: Path, open_calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_KEEPALIVE_SECONDS", 0.2)
    monkeypatch.setattr(serving, "_KEEPALIVE_TIMEOUT_SECONDS", 0.2)
    async with wired(certificates) as wire:
        if open_calls:
            wire.open(1, SILENT)
        for _ in range(4):  # it asks on as long as there are answers
            wire.send(PING, ACK, 0, (await until_frame(wire, PING)).payload)
        await until_closed(wire)


async def test_who_never_acknowledges_the_settings_is_disconnected(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_SETTINGS_SECONDS", 0.2)
    async with wired(certificates) as wire:
        await until_closed(wire, acknowledging=False)


async def test_who_never_completes_the_handshake_is_disconnected(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_HANDSHAKE_SECONDS", 0.2)
    async with started(echo_server(server_config(certificates), HANDLERS)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
        writer.transport.abort()


async def test_an_old_connection_is_given_up_and_a_call_that_goes_on_ends_after_the_grace(certificates: Path) -> None:
    async with wired(certificates, max_connection_age_seconds=0.2, max_connection_age_grace_seconds=0.2) as wire:
        wire.open(1, SILENT)
        assert error_of(await until_frame(wire, GOAWAY)) == NO_ERROR
        await until_closed(wire)


async def test_a_client_is_told_how_many_streams_and_how_much_metadata_it_may_send(certificates: Path) -> None:
    async with wired(certificates, max_concurrent_calls=321, max_metadata_bytes=12_345) as wire:
        settings = (await until_frame(wire, SETTINGS)).payload
        told = dict(struct.iter_unpack(">HI", settings))
        assert (told[MAX_CONCURRENT_STREAMS], told[MAX_HEADER_LIST_SIZE]) == (321, 2 * 12_345)


async def test_the_window_of_a_stream_does_not_grow_with_what_comes_by_it(certificates: Path) -> None:
    async with wired(certificates) as wire:
        wire.open(1, READING)
        message = raw_http2.grpc_message(bytes(16_000))
        room, sent = {0: 65_535, 1: 65_535}, 0
        while sent < 2 * 1024 * 1024:
            if min(room.values()) >= len(message):
                wire.send(DATA, 0, 1, message)
                room = {stream: left - len(message) for stream, left in room.items()}
                sent += len(message)
                continue
            stream, frame = await wire.read()
            if frame.kind == WINDOW_UPDATE:
                room[stream] += int.from_bytes(frame.payload)
            if frame.kind == SETTINGS and not frame.flags & ACK:
                told = dict(struct.iter_unpack(">HI", frame.payload))
                assert told.get(INITIAL_WINDOW_SIZE, 65_535) <= 65_535
                wire.send(SETTINGS, ACK, 0)
            assert frame.kind not in {PING, GOAWAY}  # by pings it would learn how much more it could take
        wire.send(DATA, END_STREAM, 1)
        await until_frame(wire, HEADERS)


async def test_of_too_many_calls_that_nobody_has_looked_at_yet_gRPC_refuses_some(  # noqa: N802
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = [(name, number) for (name, _), number in zip(serving._FROM_OUTSIDE, (5, 10), strict=True)]  # noqa: SLF001
    monkeypatch.setattr(serving, "_FROM_OUTSIDE", outside)
    async with wired(certificates) as wire:
        await until_frame(wire, SETTINGS)
        for stream in range(1, 201, 2):
            wire.open(stream, UNARY)
            wire.send(DATA, END_STREAM, stream, raw_http2.grpc_message(b""))
        await wire.drain()
        time.sleep(0.5)  # noqa: ASYNC251 - the server's own loop is kept from looking
        ended, refused = 0, 0
        while ended < 100:
            stream, frame = await wire.read()
            if (stream and frame.flags & END_STREAM) or frame.kind == raw_http2.RST_STREAM:
                ended += 1
                refused += frame.kind == raw_http2.RST_STREAM or b"\x018" in frame.payload
        assert 50 <= refused < 100
