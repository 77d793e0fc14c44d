"""A way between two sides that can be cut, can go dead without a word, and can be held up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.tcp_server import tcp_server


@dataclass
class TcpProxy:
    """Hands bytes on to a port, or to a socket in a folder.

    Attributes:
        target: The port or the socket's path that the bytes go to.
        port: Where it listens.
        closed: Whether new connections are closed at once.
        dead: Whether new connections stand, and no byte of theirs arrives.

    """

    target: int | str
    port: int = 0
    closed: bool = False
    dead: bool = False
    _connections: set["_Connection"] = field(default_factory=set)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """Break all connections."""
        for connection in self._connections:
            connection.abort()

    def turn(self, target: int | str) -> None:
        """Break all connections, and lead new ones elsewhere."""
        self.target = target
        self.cut()

    def swallow(self) -> None:
        """Let the connections that are there stand, and no byte of theirs arrive any more. New ones are good."""
        for connection in self._connections:
            connection.swallows = True

    def hold(self) -> None:
        """Keep back all bytes, of new connections too."""
        self._open.clear()

    def release(self) -> None:
        """Let bytes pass, those that were kept back first."""
        self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            return
        try:
            onward_reader, onward_writer = await _connect(self.target)
        except OSError:
            return
        connection = _Connection(writer, onward_writer, self._open, self.dead)
        self._connections.add(connection)
        try:
            await asyncio.gather(connection.pump(reader, onward_writer), connection.pump(onward_reader, writer))
        finally:
            self._connections.discard(connection)
            connection.abort()


@dataclass(eq=False)
class _Connection:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    open: asyncio.Event
    swallows: bool

    def abort(self) -> None:
        for writer in (self.near, self.far):
            writer.transport.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(64 * 1024):
                await self.open.wait()
                if not self.swallows:
                    writer.write(data)
                    await writer.drain()
        if not self.swallows:
            self.abort()


async def _connect(target: int | str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, str):
        return await asyncio.open_unix_connection(target)
    try:
        return await asyncio.open_connection(
            "::1", target
        )  # gRPC's servers are there first, when they are on localhost
    except OSError:
        return await asyncio.open_connection("127.0.0.1", target)


@asynccontextmanager
async def proxied(target: int | str) -> AsyncIterator[TcpProxy]:
    """Stand before a port of this machine, or before a socket."""
    proxy = TcpProxy(target)
    proxy.release()
    async with tcp_server(proxy.serve) as proxy.port:
        yield proxy
