"""Certificates are replaced while servers and channels run."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.channels.channel import open_channel
from mesh.channels.renewed_channel import renewed_channel
from mesh.config import ChannelConfig
from mesh.security import pki
from mesh.security.tls import dns_name
from mesh.serving.server import Server
from tests.unit.mesh.echo_servers import ECHO, UNARY, echo_server, server_config, started, unary

PATIENCE_SECONDS = 60.0

Lines = list[MutableMapping[str, Any]]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.channels.renewed_channel._LOOK_SECONDS", 0.05)


@pytest.fixture
def pki_folder(tmp_path: Path) -> Path:
    """Make a company's certificates, which the test may replace."""
    issue(tmp_path)
    return tmp_path


def issue(folder: Path, workloads: tuple[str, ...] = ("backend", "gateway")) -> None:
    company = pki.create_authority(folder, "company")
    for workload in workloads:
        pki.issue_workload(company, folder, workload)


def issue_by_another_company(folder: Path, workloads: tuple[str, ...]) -> None:
    for name in ("company.pem", "company-key.pem"):
        (folder / name).unlink()
    issue(folder, workloads)


def shown(server: Server) -> str:
    """Return the serial number of the certificate that a server shows to a new connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", server.port)) as plain, context.wrap_socket(plain) as connection:
        certificate = connection.getpeercert(binary_form=True)
        assert certificate
        return ssl.DER_cert_to_PEM_cert(certificate)


def on_disk(folder: Path) -> str:
    return (folder / "backend.pem").read_text()


def channel_config(folder: Path, server: Server) -> ChannelConfig:
    return ChannelConfig(
        target=f"127.0.0.1:{server.port}",
        ca=folder / "company.pem",
        server_name=dns_name("backend"),
        certificate=folder / "gateway.pem",
        private_key=folder / "gateway-key.pem",
    )


@asynccontextmanager
async def calling(folder: Path, server: Server) -> AsyncIterator[grpc.aio.Channel]:
    config = channel_config(folder, server)
    async with renewed_channel(config, partial(open_channel, config)) as channel:
        yield channel


async def echo_all(_requests: object, context: Any) -> None:
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(message)


async def callers_certificate(_request: bytes, context: Any) -> bytes:
    certificate: bytes = context.auth_context()["x509_pem_cert"][0]
    return certificate


@pytest.fixture
async def server(pki_folder: Path) -> AsyncIterator[Server]:
    handlers = {
        **unary(),
        "Both": grpc.stream_stream_rpc_method_handler(echo_all),
        "Certificate": grpc.unary_unary_rpc_method_handler(callers_certificate),
    }
    async with started(echo_server(server_config(pki_folder), handlers)) as server:
        yield server


async def said(lines: Lines, event: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while all(line["event"] != event for line in lines):  # noqa: ASYNC110 - the log has no event to wait for
            await asyncio.sleep(0)


async def test_a_server_shows_a_renewed_certificate_to_new_connections(server: Server, pki_folder: Path) -> None:
    old = on_disk(pki_folder)
    assert await asyncio.to_thread(shown, server) == old
    async with calling(pki_folder, server) as channel:
        call = channel.stream_stream(f"/{ECHO}/Both")()
        await call.write(b"before")
        assert await call.read() == b"before"
        issue(pki_folder, ("backend",))
        assert await asyncio.to_thread(shown, server) == on_disk(pki_folder) != old
        await call.write(b"after")
        assert await call.read() == b"after"
        call.cancel()


async def test_a_server_trusts_a_renewed_client_ca(server: Server, pki_folder: Path) -> None:
    issue_by_another_company(pki_folder, ("gateway",))
    config = channel_config(pki_folder, server)
    # It still shows the certificate of the first company, so that one is to be trusted here.
    async with open_channel(config) as channel:
        assert await channel.unary_unary(UNARY)(b"", timeout=PATIENCE_SECONDS).code() == grpc.StatusCode.UNAVAILABLE
    issue(pki_folder, ("backend",))
    async with open_channel(config) as channel:
        assert await channel.unary_unary(UNARY)(b"hello") == b"hello"


def spoil_permissions(folder: Path, stem: str) -> None:
    (folder / f"{stem}-key.pem").chmod(0o644)


def spoil_certificate(folder: Path, stem: str) -> None:
    (folder / f"{stem}.pem").write_text("nonsense")


def spoil_key(folder: Path, stem: str) -> None:
    (folder / f"{stem}-key.pem").write_text("nonsense")


def take_away(folder: Path, stem: str) -> None:
    (folder / f"{stem}.pem").unlink()


def mix_up(folder: Path, stem: str) -> None:
    (folder / f"{stem}.pem").write_bytes((folder / "company.pem").read_bytes())


def spoil_ca(folder: Path, _stem: str) -> None:
    (folder / "company.pem").write_text("nonsense")


SPOILING = [spoil_permissions, spoil_certificate, spoil_key, take_away, mix_up, spoil_ca]
NOT_GOOD, RENEWED = "the new certificate is not good, so the old one stays", "the certificate was renewed"


@pytest.mark.parametrize("spoil", SPOILING)
async def test_a_server_keeps_its_certificate_if_the_new_one_is_not_good(
    server: Server, pki_folder: Path, log_lines: Lines, spoil: Callable[[Path, str], None]
) -> None:
    old, company = on_disk(pki_folder), (pki_folder / "company.pem").read_bytes()
    issue(pki_folder, ("backend",))
    spoil(pki_folder, "backend")
    for _ in range(3):
        assert await asyncio.to_thread(shown, server) == old
    assert [line["log_level"] for line in log_lines if line["event"] == NOT_GOOD] == ["error"]  # said once
    (pki_folder / "company.pem").write_bytes(company)
    issue(pki_folder, ("backend",))
    assert await asyncio.to_thread(shown, server) == on_disk(pki_folder)


@pytest.mark.parametrize("spoil", SPOILING)
async def test_a_channel_keeps_its_certificate_if_the_new_one_is_not_good(
    server: Server, pki_folder: Path, log_lines: Lines, spoil: Callable[[Path, str], None]
) -> None:
    company = (pki_folder / "company.pem").read_bytes()
    async with calling(pki_folder, server) as channel:
        unary_call = channel.unary_unary(UNARY)
        assert await unary_call(b"one") == b"one"
        spoil(pki_folder, "gateway")
        await said(log_lines, NOT_GOOD)
        assert await unary_call(b"two") == b"two"
        (pki_folder / "company.pem").write_bytes(company)
        issue(pki_folder, ("gateway",))
        await said(log_lines, RENEWED)
        assert await unary_call(b"three") == b"three"


async def test_a_channel_calls_by_a_renewed_certificate_while_what_is_under_way_goes_on(
    server: Server, pki_folder: Path, log_lines: Lines
) -> None:
    async with calling(pki_folder, server) as channel:
        certificate = channel.unary_unary(f"/{ECHO}/Certificate")
        stream = channel.stream_stream(f"/{ECHO}/Both")()
        await stream.write(b"before")
        assert await stream.read() == b"before"
        old = await certificate(b"")
        issue_by_another_company(pki_folder, ("backend", "gateway"))
        await said(log_lines, RENEWED)
        async with asyncio.timeout(PATIENCE_SECONDS):  # the server is the one to find out at the first connection
            while await (call := certificate(b"")).code() != grpc.StatusCode.OK:
                pass
        assert await call == (pki_folder / "gateway.pem").read_bytes() != old
        await stream.write(b"after")
        assert await stream.read() == b"after"
        stream.cancel()
