"""Auth servers that run in this process, as a gateway calls them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc

from authserver.clients.register import Credentials
from authserver.config import AuthServerConfig
from authserver.server import running
from authserver.tokens.exchange import ACCESS_TOKEN_TYPE, TOKEN_EXCHANGE
from mesh.calls.error_info import read_error_info
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from mesh.security.tls import dns_name
from sekisho.auth.v1 import exchange_service_pb2 as exchange_pb
from sekisho.auth.v1 import exchange_service_pb2_grpc as exchange_grpc
from sekisho.auth.v1 import key_service_pb2 as key_pb
from sekisho.auth.v1 import key_service_pb2_grpc as key_grpc
from sekisho.auth.v1 import revocation_service_pb2_grpc as revocation_grpc
from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.auth.v1 import token_service_pb2_grpc as token_grpc


async def is_exchanged(exchanges: exchange_grpc.ExchangeServiceStub, token: str) -> bool:
    """Return whether a token is exchanged; any answer but that or INVALID_TOKEN is an error."""
    request = exchange_pb.ExchangeTokenRequest(
        grant_type=TOKEN_EXCHANGE, subject_token_type=ACCESS_TOKEN_TYPE, subject_token=token, audience="payments"
    )
    try:
        await exchanges.ExchangeToken(request)
    except grpc.aio.AioRpcError as error:
        if read_error_info(error)[0] != "INVALID_TOKEN":
            raise
        return False
    return True


class Replica:
    """An auth server that runs, as the gateway calls it; `stop` and `start` it anew with another configuration."""

    def __init__(self, config: AuthServerConfig, certificates: Path) -> None:
        self.config = config
        self._certificates = certificates
        self._stack = AsyncExitStack()

    async def start(self, config: AuthServerConfig | None = None) -> None:
        self.config = config or self.config
        server = await self._stack.enter_async_context(running(self.config))
        channel_config = ChannelConfig(
            target=f"127.0.0.1:{server.port}",
            ca=self._certificates / "company.pem",
            server_name=dns_name("authserver"),
            certificate=self._certificates / "gateway.pem",
            private_key=self._certificates / "gateway-key.pem",
        )
        channel = await self._stack.enter_async_context(open_channel(channel_config))
        self._tokens = token_grpc.TokenServiceStub(channel)
        self._exchanges = exchange_grpc.ExchangeServiceStub(channel)
        self._keys = key_grpc.KeyServiceStub(channel)
        self.revocations = revocation_grpc.RevocationServiceStub(channel)

    async def stop(self) -> None:
        await self._stack.aclose()

    async def token(self, credentials: Credentials) -> str:
        request = token_pb.IssueTokenRequest(
            grant_type="client_credentials",
            client_id=credentials.client.client_id,
            client_secret=credentials.client_secret,
        )
        return str((await self._tokens.IssueToken(request)).access_token)

    async def takes(self, token: str) -> bool:
        """Return whether a token is exchanged."""
        return await is_exchanged(self._exchanges, token)

    async def kids(self) -> set[str]:
        return {key.kid for key in (await self._keys.ListKeys(key_pb.ListKeysRequest())).keys}


@asynccontextmanager
async def two(config: AuthServerConfig, certificates: Path) -> AsyncIterator[list[Replica]]:
    """Run two replicas that start at once."""
    replicas = [Replica(config, certificates) for _ in range(2)]
    try:
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield replicas
    finally:
        await asyncio.gather(*(replica.stop() for replica in replicas))
