"""Calls to a running auth server, with real TLS."""

import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from authserver.clients.provision import Provisioner
from authserver.clients.register import Credentials
from authserver.clients.software_statements import TYP
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from authserver.tokens.exchange import ACCESS_TOKEN_TYPE, TOKEN_EXCHANGE
from mesh.calls.error_info import read_error_info
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from mesh.security.signed_jwt import SigningKey, create_pem, sign
from mesh.security.tls import dns_name
from sekisho.auth.v1 import (
    client_registration_service_pb2,
    client_registration_service_pb2_grpc,
    exchange_service_pb2,
    exchange_service_pb2_grpc,
    key_service_pb2_grpc,
    partner_access_service_pb2_grpc,
    revocation_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)

PAYMENTS_KEY = SigningKey.from_pem(create_pem())


class Caller:
    """A workload with a channel to the auth server."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.tokens = token_service_pb2_grpc.TokenServiceStub(channel)
        self.exchanges = exchange_service_pb2_grpc.ExchangeServiceStub(channel)
        self.registrations = client_registration_service_pb2_grpc.ClientRegistrationServiceStub(channel)
        self.keys = key_service_pb2_grpc.KeyServiceStub(channel)
        self.revocations = revocation_service_pb2_grpc.RevocationServiceStub(channel)
        self.partners = partner_access_service_pb2_grpc.PartnerAccessServiceStub(channel)

    async def token(self, credentials: Credentials, grant_type: str = "client_credentials") -> str:
        return await self.token_of(credentials.client.client_id, credentials.client_secret, grant_type=grant_type)

    async def token_of(
        self, client_id: str, client_secret: str, scope: str = "", grant_type: str = "client_credentials"
    ) -> str:
        request = token_service_pb2.IssueTokenRequest(
            grant_type=grant_type, client_id=client_id, client_secret=client_secret, scope=scope
        )
        answer = await self.tokens.IssueToken(request)
        return str(answer.access_token)

    async def exchange(self, token: str, audience: str = "authserver", **changes: str | int) -> Any:
        fields = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": ACCESS_TOKEN_TYPE, **changes}
        request = exchange_service_pb2.ExchangeTokenRequest(subject_token=token, audience=audience, **fields)
        return await self.exchanges.ExchangeToken(request)

    async def as_client(self, credentials: Credentials) -> list[tuple[str, str]]:
        exchanged = await self.exchange(await self.token(credentials))
        return [("authorization", f"Bearer {exchanged.access_token}")]


def statement(**changes: object) -> str:
    now = int(time.time())
    claims = {
        "iss": "payments",
        "aud": "authserver.example",
        "iat": now,
        "exp": now + 3600,  # statements in tables are made long before their test
        "jti": "app_1",
        "partner_id": "ptr_1",
        "platform_id": "shops",
    }
    return sign(PAYMENTS_KEY, TYP, {**claims, **changes})


@asynccontextmanager
async def calling(certificates: Path, port: int, workload: str) -> AsyncIterator[Caller]:
    channel_config = ChannelConfig(
        target=f"127.0.0.1:{port}",
        ca=certificates / "company.pem",
        server_name=dns_name("authserver"),
        certificate=certificates / f"{workload}.pem",
        private_key=certificates / f"{workload}-key.pem",
    )
    async with open_channel(channel_config) as channel:
        yield Caller(channel)


def provisioner(config: AuthServerConfig) -> Provisioner:
    installation = read_installation(config)
    return Provisioner(installation.peppers, installation.trail, "operator:test", 1_800_000_000_500)


async def refusal(call: Coroutine[Any, Any, Any] | Any) -> tuple[str, str]:
    """Return status and reason of the error that a call ends with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, read_error_info(error)[0]
    raise AssertionError(f"the call was answered: {answer!r}")


def registering(**fields: Any) -> client_registration_service_pb2.RegisterClientRequest:
    return client_registration_service_pb2.RegisterClientRequest(
        **{"software_statement": statement(), "client_name": "Tea shop", **fields}
    )
