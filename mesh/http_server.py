"""An HTTP server in the service's event loop: uvicorn, in bounds."""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mesh.config import ConfigError

_MAX_HEAD_BYTES = 16 * 1024
_BACKLOG = 1024
_TICK_SECONDS = 1.0


class HttpServer:
    """Answers HTTP requests on one address, or on all that its name has.

    Args:
        app: What answers.
        listen: The address, `host:port`.
        tls: The certificate and the versions of TLS; None for plain HTTP.
        max_connections: The most at once; further requests are answered 503.
        request_seconds: How long a client may take to send a request.
        drain_seconds: How long requests may go on after a stop was asked for.

    Raises:
        ConfigError: If the address can't be listened on.

    """

    def __init__(
        self,
        app: ASGIApp,
        listen: str,
        *,
        tls: ssl.SSLContext | None,
        max_connections: int,
        request_seconds: float,
        drain_seconds: float,
    ) -> None:
        """Open the port. Requests are answered after `start`."""
        self._server = _Server(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level=logging.ERROR,  # what strangers send is in the access log, or nothing to log
                access_log=False,
                proxy_headers=False,  # the address is the peer's: nobody else may say where a call came from
                server_header=False,
                limit_concurrency=max_connections,
                timeout_keep_alive=request_seconds,  # type: ignore[arg-type]  # it is only added to times
                timeout_graceful_shutdown=max(1, round(drain_seconds)),
            ),
            tls,
        )
        self._sockets = _listen(listen)
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Answer requests."""
        self._serving = asyncio.create_task(self._server.serve(self._sockets))
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Take no new requests, and let those under way end within the time configured."""
        self._server.stopping.set()
        if self._serving:
            await self._serving


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its process, says when it serves, and stops when it is told."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._tls = tls
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Do as uvicorn does, but don't wait a minute for each TLS handshake."""
        config, loop = self.config, asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return _BoundedProtocol(config, self.server_state, self.lifespan.state)

        self.servers = [
            await loop.create_server(
                protocol,
                sock=each,
                ssl=self._tls,
                ssl_handshake_timeout=config.timeout_keep_alive if self._tls else None,
                backlog=_BACKLOG,
            )
            for each in sockets or ()
        ]
        self.started = True
        self.ready.set()

    async def main_loop(self) -> None:
        """Do as uvicorn does, but without a look each tenth of a second at whether to stop."""
        while not self.stopping.is_set():
            await self.on_tick(0)  # the date in answers
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Do as uvicorn does, but wait for nobody where nobody is."""
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's faster protocol with two more bounds.

    A connection on which no request is under way soon ends, also before its first one, and so does one with too much
    that is no body: heads, trailers, what stands around chunks.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _fields_bytes = 0  # of the head alone, which may come together with more, and whole

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the head of the request is too large")
        self._watch()

    def on_message_begin(self) -> None:
        self._fields_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._fields_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._fields_bytes > _MAX_HEAD_BYTES:
            raise ValueError("the head of the request is too large")
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel()  # from here on the reading of the body is bounded
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _listen(address: str) -> list[socket.socket]:
    """Return sockets that listen on all addresses that a name has here, as gRPC's do; for port 0, on one free port."""
    host, _, port = address.rpartition(":")
    listening: list[socket.socket] = []
    try:
        resolved = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        # An address may be there twice: where the hosts file has a line for IPv6, glibc gives IPv4's again.
        found = dict.fromkeys((family, target) for family, _, _, _, target in resolved)
        has_ipv4 = any(family == socket.AF_INET for family, _ in found)
        for family, (ip, number, *rest) in found:
            taken = number or (listening[0].getsockname()[1] if listening else 0)
            with contextlib.suppress(_NotHere):
                listening.append(_bound(family, (ip, taken, *rest), dual_stack=not has_ipv4))
    except (OSError, ValueError) as error:
        for each in listening:
            each.close()
        raise ConfigError(f"can't listen on {address}: {error}") from error
    if not listening:
        raise ConfigError(f"can't listen on {address}: this machine has no such address")
    return listening


class _NotHere(Exception):
    """The machine has no such address, or none of its family."""


def _bound(family: int, target: Any, *, dual_stack: bool) -> socket.socket:  # noqa: ANN401 - as each family has it
    # The protocol is named for asyncio, which sends small packets at once (TCP_NODELAY) only where it sees TCP.
    try:
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise _NotHere from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `[::]` alone is all addresses, those of IPv4 too; otherwise IPv4 has sockets of its own.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        listener.bind(target)
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library takes it so
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _NotHere from error
        raise
    return listener
