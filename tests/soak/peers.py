"""Peers that mean no good, made for the purpose: each does its worst from an address of its own, and then leaves."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from tests.raw_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    NO_DYNAMIC_TABLE,
    NO_WINDOW,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Wire,
    encode_frame,
    encode_headers,
    grpc_message,
    repeated_header,
    request_headers,
)
from tests.soak.target import PATIENCE_SECONDS, WATCH_METHOD, Target
from tests.unit.gateway.front import PARTNER_METHOD, PUBLIC_METHOD

Peer = Callable[[Target], Awaitable[None]]

_PRIORITY, _CONTINUATION = 2, 9
_CANCEL = (8).to_bytes(4)
_BEARER = (b"authorization", b"Bearer sat_stranger")
_HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
_ADDRESS = ("127.0.0.2", 0)


@asynccontextmanager
async def by_tcp(
    target: Target, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", target.port, ssl=context, server_hostname=name, local_addr=_ADDRESS
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


@asynccontextmanager
async def connected(target: Target, settings: bytes = NO_DYNAMIC_TABLE) -> AsyncIterator[Wire]:
    context = ssl.create_default_context(cafile=str(target.ca))
    context.set_alpn_protocols(["h2"])
    async with by_tcp(target, context) as (reader, writer):
        writer.write(PREFACE + encode_frame(SETTINGS, 0, 0, settings))
        yield Wire(reader, writer)


async def opens_calls_and_stalls(target: Target) -> None:
    """Begin hundreds of calls of every kind on a few connections, and send no message."""
    async with AsyncExitStack() as stack:
        for path in (_HEALTH_CHECK, _HEALTH_WATCH, _REFLECTION, PUBLIC_METHOD, PARTNER_METHOD, WATCH_METHOD):
            wire = await stack.enter_async_context(connected(target))
            for number in range(400):
                wire.open(2 * number + 1, path, _BEARER)
            await wire.drain()
        await target.neighbour.answered(60)


async def watches_health(target: Target) -> None:
    """Watch health without end, as often as one connection may."""
    async with connected(target) as wire:
        for number in range(1500):
            wire.open(2 * number + 1, _HEALTH_WATCH)
            wire.send(DATA, END_STREAM, 2 * number + 1, grpc_message(b""))
        await wire.drain()
        await target.neighbour.answered(60)


async def never_reads(target: Target) -> None:
    """Ask for much, by calls and by streams, and let nothing of it through."""
    async with AsyncExitStack() as stack:
        for _ in range(4):
            wire = await stack.enter_async_context(connected(target, NO_DYNAMIC_TABLE + NO_WINDOW))
            for number in range(300):
                stream = 2 * number + 1
                wire.open(stream, (PUBLIC_METHOD, PARTNER_METHOD, WATCH_METHOD)[number % 3], _BEARER)
                wire.send(DATA, END_STREAM, stream, grpc_message(bytes(100)))
            await wire.drain()
        await target.neighbour.answered(60)


async def leaves_streams(target: Target) -> None:
    """Ask for streams without end, and leave each as soon as it begins."""
    async with connected(target) as wire:
        wire.send(WINDOW_UPDATE, 0, 0, (2**31 - 2**16).to_bytes(4))
        for stream in range(1, 800, 2):
            wire.open(stream, WATCH_METHOD, _BEARER)
            wire.send(DATA, END_STREAM, stream, grpc_message(b""))
            while (await wire.frame())[1] != stream:
                pass
            wire.send(RST_STREAM, 0, stream, _CANCEL)


async def sends_a_megabyte_of_headers(target: Target) -> None:
    """Send a megabyte of metadata, in one block, and in one that never ends."""
    for block in (encode_headers([(b"x-large", bytes(1024 * 1024).replace(b"\0", b"a"))]), None):
        async with connected(target) as wire:
            wire.send(HEADERS, 0, 1, encode_headers([*request_headers(PUBLIC_METHOD), _BEARER]))
            with suppress(ConnectionError):
                for number in range(64):
                    part = encode_headers([(b"x-%d" % number, b"a" * 16_000)])
                    if block is not None:
                        part = block[number * 16_384 : (number + 1) * 16_384]
                    wire.send(_CONTINUATION, END_HEADERS if block and number == 63 else 0, 1, part)
                    await wire.drain()
            await target.neighbour.answered(10)


async def floods_with_pings(target: Target) -> None:
    """Ping without pause, until the connection is ended."""
    async with connected(target) as wire:
        closed = asyncio.create_task(wire.closed())
        with suppress(ConnectionError):
            while not closed.done():
                for _ in range(100):
                    wire.send(PING, 0, 0, bytes(8))
                await wire.drain()
                await asyncio.wait([closed], timeout=0.01)
        await closed


async def floods_with_frames(target: Target) -> None:
    """Send what costs nothing to send, and read nothing of what it makes the other side say (CVE-2019-9511 and on)."""
    for kind, stream, payload in (
        (SETTINGS, 0, NO_WINDOW),  # each must be acknowledged
        (WINDOW_UPDATE, 0, (1).to_bytes(4)),
        (_PRIORITY, 1, bytes(5)),
        (DATA, 1, b""),
        (_CONTINUATION, 1, b""),
    ):
        async with connected(target) as wire:
            ends = 0 if kind == _CONTINUATION else END_HEADERS
            wire.send(HEADERS, ends, 1, encode_headers([*request_headers(WATCH_METHOD), _BEARER]))
            with suppress(ConnectionError, TimeoutError):
                for _ in range(100):
                    for _ in range(500):
                        wire.send(kind, 0, stream, payload)
                    async with asyncio.timeout(1):
                        await wire.drain()
            await target.neighbour.answered(10)


async def means_megabytes(target: Target) -> None:
    """Send a few kilobytes of headers that refer thousands of times to one of four kilobytes (RFC 7541 §7.3)."""
    async with connected(target) as wire:
        with suppress(ConnectionError):
            for number in range(100):
                times = (50, 500, 2_000, 8_000)[number % 4]  # gRPC's own limit is at 4,000 until this side hears of it
                large = repeated_header(b"x-large", b"a" * 4_000, times)
                wire.send(HEADERS, END_HEADERS, 2 * number + 1, encode_headers(request_headers(PUBLIC_METHOD)) + large)
                await wire.drain()
        await target.neighbour.answered(10)


async def resets_rapidly(target: Target) -> None:
    """Begin thousands of calls, and reset each at once (CVE-2023-44487)."""
    async with connected(target) as wire:
        closed = asyncio.create_task(wire.closed())
        with suppress(ConnectionError):
            for number in range(5_000):
                wire.open(2 * number + 1, (PARTNER_METHOD, _HEALTH_WATCH)[number % 2], _BEARER)
                wire.send(RST_STREAM, 0, 2 * number + 1, _CANCEL)
                await wire.drain()
        await target.neighbour.answered(10)
        closed.cancel()


async def stops_half_way(target: Target) -> None:
    """Connect, and go silent before TLS, in its midst, or before HTTP/2."""
    context = ssl.create_default_context(cafile=str(target.ca))
    async with AsyncExitStack() as stack:
        for number in range(60):
            if number % 3 == 2:
                await stack.enter_async_context(by_tcp(target, context))
                continue
            _, writer = await stack.enter_async_context(by_tcp(target))
            if number % 3:
                writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(20))
        await target.neighbour.answered(30)


async def connects_a_thousand_times(target: Target) -> None:
    """Hold a thousand connections, and call on none."""
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await asyncio.gather(*(stack.enter_async_context(connected(target)) for _ in range(50)))
        await target.neighbour.answered(30)


async def speaks_something_else(target: Target) -> None:
    """Say HTTP/1.1, garbage, TLS that is none, and HTTP/1.1 or garbage within TLS."""
    context = ssl.create_default_context(cafile=str(target.ca))
    context.set_alpn_protocols(["h2"])
    http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for said in (http, PREFACE, os.urandom(4096), b"\x16\x03\x03\x40\x00" + os.urandom(0x4000), b"\x80" * 100):
        async with by_tcp(target) as (reader, writer):
            await _said(reader, writer, said)
        async with by_tcp(target, context) as (reader, writer):
            await _said(reader, writer, said if said != PREFACE else PREFACE + os.urandom(4096))


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes) -> None:
    """Say something, and wait for the other side to end the connection."""
    with suppress(ConnectionError, ssl.SSLError):
        writer.write(said)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await reader.read(4096):
                pass


PEERS: Mapping[str, Peer] = {
    peer.__name__: peer
    for peer in (
        opens_calls_and_stalls,
        watches_health,
        never_reads,
        leaves_streams,
        sends_a_megabyte_of_headers,
        floods_with_pings,
        floods_with_frames,
        means_megabytes,
        resets_rapidly,
        stops_half_way,
        connects_a_thousand_times,
        speaks_something_else,
    )
}
