"""HTTP/2 by hand, for what no well-behaved gRPC client sends."""

import asyncio
import re
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.tcp_server import tcp_server

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
STREAM = 1
PATIENCE_SECONDS = 60.0

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_DYNAMIC_TABLE = struct.pack(">HI", 1, 0)
NO_WINDOW = struct.pack(">HI", 4, 0)
_GRPC_STATUS = re.compile(rb"grpc-status[\x01\x02](\d{1,2})")

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    payload: bytes


@dataclass(frozen=True)
class Answer:
    """What came back for one stream; a connection that the server closed ends it too."""

    frames: Sequence[Frame]

    @property
    def status(self) -> int | None:
        found = _GRPC_STATUS.search(b"".join(frame.payload for frame in self.frames if frame.kind == HEADERS))
        return int(found[1]) if found else None

    @property
    def is_trailers_only(self) -> bool:
        return len(self.frames) == 1 and self.frames[0].kind == HEADERS and bool(self.frames[0].flags & END_STREAM)


class Wire:
    """One connection, by HTTP/2 frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self._writer.write(encode_frame(kind, flags, stream, payload))

    def open(self, stream: int, path: str, *headers: tuple[bytes, bytes]) -> None:
        """Begin a call."""
        self.send(HEADERS, END_HEADERS, stream, encode_headers([*request_headers(path), *headers]))

    async def drain(self) -> None:
        await self._writer.drain()

    async def read(self) -> tuple[int, Frame]:
        """Read one frame; return its stream, and the frame."""
        head = await self.reader.readexactly(9)
        frame = Frame(head[3], head[4], await self.reader.readexactly(int.from_bytes(head[:3])))
        return int.from_bytes(head[5:]) & 0x7FFFFFFF, frame

    async def frame(self) -> tuple[int, int]:
        """Read one frame, as a client does; return its kind and its stream."""
        stream, frame = await self.read()
        if frame.kind == SETTINGS and not frame.flags & ACK:
            self.send(SETTINGS, ACK, 0)
        return frame.kind, stream

    async def closed(self) -> None:
        """Wait until the other side ends the connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (await self.frame())[0] != GOAWAY:
                pass


@asynccontextmanager
async def wired(port: int, ca: Path) -> AsyncIterator[Wire]:
    """Connect, and begin as a client does."""
    async with _connected(port, ca) as (reader, writer):
        writer.write(PREFACE + encode_frame(SETTINGS, 0, 0, NO_DYNAMIC_TABLE))
        yield Wire(reader, writer)


def grpc_message(body: bytes, *, compressed: bool = False) -> bytes:
    return struct.pack(">?I", compressed, len(body)) + body


async def post(
    port: int,
    ca: Path,
    path: str,
    headers: Headers = (),
    data: bytes | None = None,
    *,
    open_data: bytes = b"",
    encoded: bytes = b"",
) -> Answer:
    """Call a method with any headers and any bytes; without data the call stays open on this side.

    The bytes of `open_data` come first, and don't end the call on this side; those of `encoded` are headers as well.
    """
    async with _connected(port, ca) as (reader, writer):
        writer.write(PREFACE + encode_frame(SETTINGS, 0, 0, NO_DYNAMIC_TABLE))
        block = encode_headers([*request_headers(path), *headers]) + encoded
        writer.write(encode_frame(HEADERS, END_HEADERS, STREAM, block))
        if open_data:
            writer.write(encode_frame(DATA, 0, STREAM, open_data))
        if data is not None:
            writer.write(encode_frame(DATA, END_STREAM, STREAM, data))
        async with asyncio.timeout(PATIENCE_SECONDS):
            return Answer(await _frames_of_stream(reader, writer))


@asynccontextmanager
async def _connected(port: int, ca: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a server of TLS, in two steps: asyncio may leave open what is cancelled while it makes them one."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await writer.start_tls(context, server_hostname="127.0.0.1")
        yield reader, writer
    finally:
        writer.transport.abort()  # a polite end would wait for the other side's


@asynccontextmanager
async def never_reading(port: int, ca: Path, path: str, data: bytes, *, calls: int) -> AsyncIterator[None]:
    """Make calls on one connection, and let nothing of their answers through."""
    async with _connected(port, ca) as (_, writer):
        writer.write(PREFACE + encode_frame(SETTINGS, 0, 0, NO_DYNAMIC_TABLE + NO_WINDOW))
        for stream in range(1, 2 * calls, 2):
            writer.write(encode_frame(HEADERS, END_HEADERS, stream, encode_headers(request_headers(path))))
            writer.write(encode_frame(DATA, END_STREAM, stream, data))
        yield


async def _frames_of_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[Frame]:
    frames = list[Frame]()
    while True:
        try:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return frames
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF
        if kind == SETTINGS and not flags & ACK:
            writer.write(encode_frame(SETTINGS, ACK, 0, b""))
        if kind == GOAWAY:
            return frames
        if stream != STREAM or kind not in {DATA, HEADERS, RST_STREAM}:
            continue
        frames.append(Frame(kind, flags, payload))
        if kind == RST_STREAM or flags & END_STREAM:
            return frames


def request_headers(path: str) -> list[tuple[bytes, bytes]]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", path.encode()),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]


def encode_headers(headers: Headers) -> bytes:
    """Encode headers as literals that are not indexed, without Huffman coding (RFC 7541 §6.2.2)."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in headers)


def repeated_header(name: bytes, value: bytes, times: int) -> bytes:
    """Encode a header once, into the table, and refer to it (RFC 7541 §6.1, §6.2.1): each time is one byte more."""
    return b"\x40" + _string(name) + _string(value) + b"\xbe" * (times - 1)


def _string(value: bytes) -> bytes:
    length, most = len(value), 127
    if length < most:
        return bytes([length]) + value
    length -= most
    encoded = bytearray([most])
    while length >= 128:
        encoded.append(length % 128 + 128)
        length //= 128
    return bytes([*encoded, length]) + value


def encode_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


@asynccontextmanager
async def answering(folder: Path, workload: str, frames: Sequence[Frame]) -> AsyncIterator[int]:
    """Answer every call with the same frames, whatever they are, as a workload; the port comes out."""

    def answer(writer: asyncio.StreamWriter, kind: int, flags: int, stream: int, _payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            writer.write(encode_frame(SETTINGS, ACK, 0, b""))
        if kind == HEADERS:
            writer.writelines(encode_frame(frame.kind, frame.flags, stream, frame.payload) for frame in frames)

    async with serving(folder, workload, answer) as port:
        yield port


@dataclass
class Recorder:
    """A server that answers no call; `half_closed`, `broken_off` and `pings` count what its callers did."""

    port: int = 0
    answers_pings: bool = True
    pings: int = 0
    half_closed: int = 0
    broken_off: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    data: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def take(self, writer: asyncio.StreamWriter, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            writer.write(encode_frame(SETTINGS, ACK, 0, b""))
        if kind == PING and not flags & ACK:
            self.pings += 1
            if self.answers_pings:
                writer.write(encode_frame(PING, ACK, 0, payload))
        if kind == DATA and payload:
            credit = len(payload).to_bytes(4)
            writer.write(encode_frame(WINDOW_UPDATE, 0, 0, credit) + encode_frame(WINDOW_UPDATE, 0, stream, credit))
        if kind == DATA:
            self.data.release()
        if kind in {DATA, HEADERS} and flags & END_STREAM:
            self.half_closed += 1
        if kind == RST_STREAM:
            self.broken_off.release()


@asynccontextmanager
async def recording(folder: Path, workload: str) -> AsyncIterator[Recorder]:
    """Take calls as a workload, and answer none."""
    recorder = Recorder()
    async with serving(folder, workload, recorder.take) as recorder.port:
        yield recorder


@asynccontextmanager
async def serving(
    folder: Path, workload: str, take: Callable[[asyncio.StreamWriter, int, int, int, bytes], None]
) -> AsyncIterator[int]:
    """Take the frames of every connection, as a workload; the port comes out."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / f"{workload}.pem", folder / f"{workload}-key.pem")
    context.set_alpn_protocols(["h2"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            await writer.start_tls(context)  # here, so that one that ends in its handshake is closed as well
            await reader.readexactly(len(PREFACE))
            writer.write(encode_frame(SETTINGS, 0, 0, b""))
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3]))
                take(writer, head[3], head[4], int.from_bytes(head[5:]), payload)

    async with tcp_server(serve) as port:
        yield port


def response_headers(headers: Headers, *, last: bool = False) -> Frame:
    return Frame(HEADERS, END_HEADERS | (END_STREAM if last else 0), encode_headers(headers))


OK_HEADERS = ((b":status", b"200"), (b"content-type", b"application/grpc"))
