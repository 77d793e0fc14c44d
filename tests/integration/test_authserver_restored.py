"""A database restored from a backup under running auth servers, and the commands that an operator then runs."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from authserver.config import AuthServerConfig
from authserver.server import running
from cli.home import Home, read_credentials
from cli.local.configurations import MeshOptions, Ports
from cli.local.preparation import prepare
from mesh.calls.error_info import read_error_info
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig, load
from mesh.security import tls
from sekisho.auth.v1 import exchange_service_pb2_grpc as exchange_grpc
from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.auth.v1 import token_service_pb2_grpc as token_grpc
from tests.databases import back_up
from tests.integration.auth_replicas import is_exchanged
from tests.mesh import sekisho

PATIENCE_SECONDS = 60.0
ON_ANY_DATABASE = pytest.mark.parametrize("home", ["sqlite"], indirect=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    databases = None
    if request.param == "postgresql":
        create: Callable[[str], str] = request.getfixturevalue("postgresql_url")
        name = f"restored_{abs(hash(request.node.name))}"
        urls = [create(f"{name}_{service}") for service in ("authserver", "payments", "shops")]
        databases = urls[-1].replace(f"{name}_shops", f"{name}_{{service}}")
    home = Home.at(tmp_path / "home")
    prepare(home, Ports.choose(0), MeshOptions(databases))
    return home


class AuthServer:
    """An auth server, as the gateway calls it on behalf of the Master Client."""

    def __init__(self, channel: grpc.aio.Channel, credentials: tuple[str, str]) -> None:
        self._tokens = token_grpc.TokenServiceStub(channel)
        self._exchanges = exchange_grpc.ExchangeServiceStub(channel)
        self._client_id, self._client_secret = credentials

    async def token(self) -> str:
        answer = await self._tokens.IssueToken(
            token_pb.IssueTokenRequest(
                grant_type="client_credentials", client_id=self._client_id, client_secret=self._client_secret
            )
        )
        return str(answer.access_token)

    async def revoke(self, token: str) -> None:
        await self._tokens.RevokeToken(
            token_pb.RevokeTokenRequest(client_id=self._client_id, client_secret=self._client_secret, token=token)
        )

    async def fail(self, client_id: str, address: str) -> tuple[str, str]:
        """Present a wrong secret; return status and reason."""
        request = token_pb.IssueTokenRequest(
            grant_type="client_credentials", client_id=client_id, client_secret="wrong"
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self._tokens.IssueToken(request, metadata=(("x-forwarded-for", address),))
        return refused.value.code().name, read_error_info(refused.value)[0]

    async def is_good(self, token: str) -> bool:
        return await is_exchanged(self._exchanges, token)


@asynccontextmanager
async def auth_server(home: Home) -> AsyncIterator[AuthServer]:
    config = load(home.config("authserver"), AuthServerConfig)
    listen = msgspec.structs.replace(config.server, listen="127.0.0.1:0")  # there are two
    async with running(msgspec.structs.replace(config, server=listen, http=None)) as server:
        channel_config = ChannelConfig(
            target=f"127.0.0.1:{server.port}",
            ca=home.pki / "workload-ca.pem",
            server_name=tls.dns_name("authserver"),
            certificate=home.pki / "gateway.pem",
            private_key=home.pki / "gateway-key.pem",
        )
        async with open_channel(channel_config) as channel:
            yield AuthServer(channel, read_credentials(home.folder("shops") / "master-credentials.json"))


async def command(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(sekisho, *arguments, "--home", str(home.path))


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            pass


async def test_a_restored_database_brings_no_revoked_token_back_to_life(home: Home) -> None:
    async with auth_server(home) as newer:
        token = await newer.token()
        restore = await asyncio.to_thread(back_up, home.database("authserver"))
        await newer.revoke(token)
        assert not await newer.is_good(token)
        await asyncio.to_thread(restore)
        async with auth_server(home) as older:  # started on the restored database
            assert await older.is_good(token)
            ran = await command(home, "auth", "restored", "--yes")
            assert ran.returncode == 0, ran.stderr
            for server in (newer, older):

                async def is_refused(server: AuthServer = server) -> bool:
                    return not await server.is_good(token)

                await soon(is_refused)
                assert await server.is_good(await server.token())


async def test_what_is_lost_is_told_and_is_no_finding_any_more_once_the_restore_is_declared(home: Home) -> None:
    async def check() -> dict[str, Any]:
        ran = await command(home, "audit", "check", "--json")
        verdict: dict[str, Any] = json.loads(ran.stdout)
        assert ran.returncode == (0 if verdict["ok"] else 1), ran.stderr
        return verdict

    async with auth_server(home) as server:  # exports the head as it starts
        restore = await asyncio.to_thread(back_up, home.database("authserver"))
        await server.revoke(await server.token())
    before = await check()
    last = before["verified"]  # the revocation; before it the set-up
    assert before == {"ok": True, "findings": [], "verified": last, "confirmed_heads": 2, "restores": []}
    await asyncio.to_thread(restore)
    assert (await check())["findings"] == [{"what": "truncated", "where": f"line {last}: they were exported"}]
    told = await command(home, "auth", "restored", "--yes")
    assert told.returncode == 0, told.stderr
    assert f"Lost: lines {last} to {last} of the audit log" in told.stdout
    assert await check() == {
        "ok": True,
        "findings": [],
        "verified": last,
        "confirmed_heads": 1,
        "restores": [{"line": last, "kept_until": last - 1}],
    }
    listed = await command(home, "audit", "list", "--action", "database.restored", "--json")
    line = json.loads(listed.stdout)
    assert line["details"] == {"kept_until": str(last - 1), "lost_until": str(last)}
    assert line["actor"].startswith("operator:")


async def test_failures_are_throttled_by_the_address_that_the_gateway_forwards_and_counted(home: Home) -> None:
    async with auth_server(home) as server:
        seen = [await server.fail(f"cli_{number}", "203.0.113.7") for number in range(11)]
        assert seen == [("UNAUTHENTICATED", "INVALID_CLIENT")] * 10 + [("RESOURCE_EXHAUSTED", "TOO_MANY_FAILURES")]
        assert await server.fail("cli_99", "203.0.113.8") == ("UNAUTHENTICATED", "INVALID_CLIENT")
        assert await server.token()
    listed = await command(home, "audit", "list", "--action", "client_authentication.refused", "--json")
    assert json.loads(listed.stdout)["details"] == {"count": "12", "client_ids": "12", "addresses": "2"}


@ON_ANY_DATABASE
async def test_without_a_yes_nothing_is_done(home: Home) -> None:
    before = await command(home, "audit", "list")
    ran = await command(home, "auth", "restored")  # nobody answers
    assert ran.returncode == 1
    assert "End all access tokens now? [y/N]" in ran.stderr
    assert (await command(home, "audit", "list")).stdout == before.stdout


@ON_ANY_DATABASE
async def test_another_audit_key_is_refused(home: Home) -> None:
    key = home.folder("authserver") / "audit-key"
    await asyncio.to_thread(key.write_bytes, bytes(32))
    ran = await command(home, "auth", "restored", "--yes")
    assert ran.returncode == 2
    assert "no line of the audit log was written with" in ran.stderr
