import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import msgspec
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.calls.error_info import read_error_info
from mesh.config import ChannelConfig, ConfigError
from mesh.security import tls
from tests.unit.mesh.echo_servers import ECHO, UNARY, calling, echo, echo_server, failure, server_config, started, unary

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_free_port_is_taken_and_told(certificates: Path) -> None:
    config = server_config(certificates)
    async with (
        started(echo_server(config, unary())) as one,
        started(echo_server(config, unary())) as two,
        calling(one, certificates) as channel,
    ):
        assert one.port != two.port
        assert one.port > 0
        assert await channel.unary_unary(UNARY)(b"hello") == b"hello"


async def test_a_port_that_is_taken_is_refused_with_its_address(certificates: Path) -> None:
    async with started(echo_server(server_config(certificates), unary())) as server:
        address = f"127.0.0.1:{server.port}"
        with pytest.raises(ConfigError, match=address):
            echo_server(server_config(certificates, listen=address), unary())


@pytest.mark.parametrize("listen", ["", "nonsense", "127.0.0.1:http!", "256.0.0.1:0"])
async def test_an_address_that_cannot_be_listened_on_is_refused(certificates: Path, listen: str) -> None:
    with pytest.raises(ConfigError):
        echo_server(server_config(certificates, listen=listen), unary())


async def test_a_missing_certificate_is_refused(certificates: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(server_config(certificates), certificate=tmp_path / "none.pem")
    with pytest.raises(ConfigError):
        echo_server(config, unary())


def test_a_tls_key_that_others_can_read_is_refused(certificates: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes((certificates / "backend-key.pem").read_bytes())
    key.chmod(0o644)
    config = msgspec.structs.replace(server_config(certificates), private_key=key)
    with pytest.raises(ConfigError, match="chmod 600"):
        tls.server_credentials(config)
    to = ChannelConfig(target="localhost:1", ca=config.certificate, certificate=config.certificate, private_key=key)
    with pytest.raises(ConfigError, match="chmod 600"):
        tls.channel_credentials(to)


@pytest.mark.parametrize("missing", ["certificate", "private_key"])
def test_a_certificate_and_its_key_go_together(certificates: Path, missing: str) -> None:
    to = ChannelConfig(
        target="localhost:1",
        ca=certificates / "company.pem",
        certificate=certificates / "backend.pem",
        private_key=certificates / "backend-key.pem",
    )
    with pytest.raises(ConfigError, match="go together"):
        tls.channel_credentials(msgspec.structs.replace(to, **{missing: None}))


@pytest.mark.parametrize(("most", "passes"), [(64, True), (16, False)])
async def test_the_metadata_of_a_call_may_be_as_large_as_configured(
    certificates: Path, most: int, *, passes: bool
) -> None:
    config = server_config(certificates, max_metadata_bytes=most * 1024)
    async with started(echo_server(config, unary())) as server, calling(server, certificates) as channel:
        code = await channel.unary_unary(UNARY)(b"", metadata=[("x-large", "a" * 40 * 1024)]).code()
        assert code is (grpc.StatusCode.OK if passes else grpc.StatusCode.RESOURCE_EXHAUSTED)


async def check(channel: grpc.aio.Channel, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


async def test_health_is_told_for_the_server_and_for_each_service(certificates: Path) -> None:
    async with (
        started(echo_server(server_config(certificates), unary())) as server,
        calling(server, certificates) as channel,
    ):
        assert [await check(channel, service) for service in ("", ECHO)] == [SERVING, SERVING]
        unknown = await failure(check(channel, "test.v1.Other"))
        assert (unknown.code(), read_error_info(unknown)[0]) == (grpc.StatusCode.NOT_FOUND, "HEALTH_NOT_FOUND")
        assert "the empty name is this server as a whole" in (unknown.details() or "")


async def test_health_is_told_for_whatever_else_has_a_name(certificates: Path) -> None:
    server = echo_server(server_config(certificates), unary())
    async with started(server), calling(server, certificates) as channel:
        for serving, status in ((False, NOT_SERVING), (True, SERVING), (False, NOT_SERVING)):
            server.report("test.Thing", serving=serving)
            assert await check(channel, "test.Thing") == status
            assert await check(channel, "") == SERVING


async def test_stopping_lets_calls_end_takes_no_new_ones_and_tells_health_checks(certificates: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: bytes, context: object) -> bytes:
        begun.set()
        await go_on.wait()
        return await echo(request, context)

    server = echo_server(server_config(certificates), unary(slow))
    await server.start()
    async with calling(server, certificates) as channel, calling(server, certificates) as other:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=ECHO))
        assert (await watch.read()).status == SERVING
        call = channel.unary_unary(UNARY)(b"x")
        await begun.wait()
        stopping = asyncio.create_task(server.stop())
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        refused = await failure(other.unary_unary(UNARY)(b"y"))
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert not stopping.done()
        go_on.set()
        assert await call == b"x"
        await stopping


async def test_calls_that_go_on_after_the_drain_time_are_ended(certificates: Path) -> None:
    begun = asyncio.Event()

    async def endless(_: bytes, __: object) -> AsyncIterator[bytes]:
        begun.set()
        await asyncio.Event().wait()
        yield b""

    handlers = {"Stream": grpc.unary_stream_rpc_method_handler(endless)}
    server = echo_server(server_config(certificates, drain_seconds=0.1), handlers)
    await server.start()
    async with calling(server, certificates) as channel:
        call = channel.unary_stream(f"/{ECHO}/Stream")(b"")
        await begun.wait()
        await server.stop()
        assert (await failure(call.read())).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_messages_beyond_the_limit_are_refused_both_ways(certificates: Path) -> None:
    async def grow(request: bytes, _: object) -> bytes:
        return request * 2

    server = echo_server(server_config(certificates, max_message_bytes=1000), unary(grow))
    async with started(server), calling(server, certificates) as channel:
        call = channel.unary_unary(UNARY)
        assert len(await call(b"x" * 400)) == 800
        for size in (600, 1001, 3_000_000):
            assert (await failure(call(b"x" * size))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_beyond_the_limit_are_refused_and_the_others_go_on(certificates: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: bytes, context: object) -> bytes:
        begun.set()
        await go_on.wait()
        return await echo(request, context)

    server = echo_server(server_config(certificates, max_concurrent_calls=1), unary(slow))
    async with started(server), calling(server, certificates) as channel:
        first = channel.unary_unary(UNARY)(b"x")
        await begun.wait()
        refused = await failure(channel.unary_unary(UNARY)(b"y"))
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        go_on.set()
        assert await first == b"x"


async def test_a_client_that_expects_another_name_does_not_connect(certificates: Path) -> None:
    async with started(echo_server(server_config(certificates), unary())) as server:
        credentials = grpc.ssl_channel_credentials((certificates / "company.pem").read_bytes())
        options = [("grpc.ssl_target_name_override", "gateway.sekisho.internal")]
        async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials, options) as channel:
            assert (await failure(channel.unary_unary(UNARY)(b""))).code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_without_tls_does_not_connect(certificates: Path) -> None:
    async with (
        started(echo_server(server_config(certificates), unary())) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        assert (await failure(channel.unary_unary(UNARY)(b""))).code() is grpc.StatusCode.UNAVAILABLE
