import asyncio
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mesh.config import ConfigError, TracingConfig
from mesh.security.tls import server_credentials
from mesh.telemetry.tracing.export import exporting
from tests.collector import collecting
from tests.tcp_server import tcp_server
from tests.unit.mesh.echo_servers import server_config


async def record(config: TracingConfig, end_seconds: float = 2.0) -> None:
    async with exporting(config, "test", end_seconds=end_seconds) as tracer:
        tracer.start_span("one").end()


@pytest.mark.parametrize("workload", ["gateway", None])
async def test_a_collector_may_ask_for_tls_and_a_certificate(certificates: Path, workload: str | None) -> None:
    public = {name: certificates / f"public{end}.pem" for name, end in (("certificate", ""), ("private_key", "-key"))}
    credentials = server_credentials(msgspec.structs.replace(server_config(certificates), **public))
    own = {"certificate": certificates / f"{workload}.pem", "private_key": certificates / f"{workload}-key.pem"}
    async with collecting(credentials) as collector:
        shown = own if workload else {}
        endpoint, ca = collector.endpoint, certificates / "company.pem"
        await record(TracingConfig(endpoint=endpoint, sample_ratio=1.0, ca=ca, **shown), 2.0 if workload else 0.5)
        assert len(collector.spans) == (1 if workload else 0)


@pytest.mark.parametrize(
    ("scheme", "files"),
    [
        ("https", {}),
        ("http", {"ca": "company.pem"}),
        ("https", {"ca": "nothing.pem"}),
        ("https", {"ca": "company.pem", "certificate": "gateway.pem"}),
    ],
)
async def test_tls_that_is_half_configured_is_refused_at_the_start(
    certificates: Path, scheme: str, files: dict[str, str]
) -> None:
    paths: dict[str, Any] = {name: certificates / file for name, file in files.items()}
    with pytest.raises(ConfigError):
        await record(TracingConfig(endpoint=f"{scheme}://127.0.0.1:1", **paths))


@asynccontextmanager
async def nobody() -> AsyncIterator[int]:
    yield 1


@asynccontextmanager
async def mute() -> AsyncIterator[int]:
    """Accept connections, and say nothing."""
    async with served(lambda _: None) as port:
        yield port


@asynccontextmanager
async def garbage() -> AsyncIterator[int]:
    async with served(lambda writer: writer.write(b"\xff" * 1000)) as port:
        yield port


@asynccontextmanager
async def served(greet: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[int]:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greet(writer)
        await asyncio.Event().wait()

    async with tcp_server(serve) as port:
        yield port


@pytest.mark.parametrize("collector", [nobody, mute, garbage])
async def test_a_collector_that_is_broken_holds_up_neither_who_records_nor_the_end(
    log_lines: list[MutableMapping[str, Any]], collector: Callable[[], AbstractAsyncContextManager[int]]
) -> None:
    async with collector() as port:
        config = TracingConfig(endpoint=f"http://127.0.0.1:{port}", sample_ratio=1.0)
        began = time.monotonic()
        async with exporting(config, "test", end_seconds=0.5) as tracer:
            for _ in range(4_000):  # more than may wait
                tracer.start_span("one").end()
            recorded = time.monotonic()
        recording, ending = recorded - began, time.monotonic() - recorded
    assert recording < 4.5  # less than the first attempt to export, so nobody waited for that
    assert ending < 15
    assert sum(line["event"] == "traces are not exported" for line in log_lines) == 1
