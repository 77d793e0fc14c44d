"""Where an HTTP server listens."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mesh.config import ConfigError
from mesh.http_server import HttpServer

APP = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])


@asynccontextmanager
async def serving(listen: str) -> AsyncIterator[int]:
    server = HttpServer(APP, listen, tls=None, max_connections=10, request_seconds=5.0, drain_seconds=1.0)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop()


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""

    def getaddrinfo(_host: str, port: int, **_: Any) -> Sequence[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_all_addresses_of_a_name_are_listened_on_at_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        resolve(context, "127.0.0.1", "192.0.2.1", "127.0.0.2", "127.0.0.1")  # the second one is nowhere (RFC 5737)
        serving_there = serving("example:0")
        port = await serving_there.__aenter__()
    async with httpx.AsyncClient(trust_env=False) as client:
        for address in ("127.0.0.1", "127.0.0.2"):
            assert (await client.get(f"http://{address}:{port}/")).text == "here"
    await serving_there.__aexit__(None, None, None)


async def test_the_wildcard_of_ipv6_is_for_callers_by_ipv4_too() -> None:
    if not socket.has_dualstack_ipv6():
        with pytest.raises(ConfigError, match="can't listen on"):
            async with serving("[::]:0"):
                pass
        return
    async with serving("[::]:0") as port, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).text == "here"


async def test_a_name_of_which_the_machine_has_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "192.0.2.1")
    with pytest.raises(ConfigError, match="this machine has no such address"):
        HttpServer(APP, "example:0", tls=None, max_connections=10, request_seconds=5.0, drain_seconds=1.0)


async def test_a_port_that_is_taken_at_one_of_the_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as other:
        resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
        listen = f"example:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match="in use"):
            HttpServer(APP, listen, tls=None, max_connections=10, request_seconds=5.0, drain_seconds=1.0)
