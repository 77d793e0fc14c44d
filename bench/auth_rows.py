"""What a token and an exchange cost at the auth server, beside a bare server that does nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from authserver.config import AuthServerConfig
from bench import load
from bench.bare import BareConfig
from bench.fleet import Server, fleet, free_address
from bench.measure import Row, Scale, compare, measure_pairs
from gateway.config import GatewayConfig
from mesh import config
from sekisho.auth.v1 import exchange_service_pb2, token_service_pb2, token_service_pb2_grpc

_ISSUE_TOKEN = "/sekisho.auth.v1.TokenService/IssueToken"  # noqa: S105 - a method
_EXCHANGE_TOKEN = "/sekisho.auth.v1.ExchangeService/ExchangeToken"  # noqa: S105 - a method


@dataclass(frozen=True, slots=True)
class _Servers:
    """The two servers, and the request of a client that the auth server knows."""

    auth: Server
    bare: Server
    request: token_service_pb2.IssueTokenRequest


async def token(scale: Scale) -> list[Row]:
    """Measure the issuing of tokens."""
    async with _servers() as servers:
        return await _measure("auth.token", _ISSUE_TOKEN, servers.request.SerializeToString(), servers, scale)


async def exchange(scale: Scale) -> list[Row]:
    """Measure the exchange of one token for private ones."""
    async with _servers() as servers:
        issued = await token_service_pb2_grpc.TokenServiceStub(servers.auth.channel).IssueToken(servers.request)
        request = exchange_service_pb2.ExchangeTokenRequest(
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=issued.access_token,
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",  # noqa: S106 - a type (RFC 8693 §3)
            audience="payments",
        )
        return await _measure("auth.exchange", _EXCHANGE_TOKEN, request.SerializeToString(), servers, scale)


async def _measure(name: str, method: str, request: bytes, servers: _Servers, scale: Scale) -> list[Row]:
    subject, baseline = (load.calls(server, method, request, scale.calls) for server in (servers.auth, servers.bare))
    pairs = await measure_pairs(name, scale.rounds, subject, baseline)
    return [
        compare(name, "CPU µs/call", pairs, lambda cost: cost.cpu_microseconds),
        compare(name, "calls/s per core", pairs, lambda cost: cost.per_core_second),
    ]


@asynccontextmanager
async def _servers() -> AsyncIterator[_Servers]:
    """Run the auth server and a bare one; connect to both with the gateway's certificate."""
    async with fleet() as processes:
        own = config.load(processes.home.config("authserver"), AuthServerConfig).server
        to_auth = config.load(processes.home.config("gateway"), GatewayConfig).auth
        address = free_address()
        auth = await processes.start("authserver")
        bare = await processes.start_bare("bare", BareConfig(server=msgspec.structs.replace(own, listen=address)))
        client_id, client_secret = processes.add_shop()
        yield _Servers(
            auth=Server(auth, await processes.connect(to_auth)),
            bare=Server(bare, await processes.connect(msgspec.structs.replace(to_auth, target=address))),
            request=token_service_pb2.IssueTokenRequest(
                grant_type="client_credentials", client_id=client_id, client_secret=client_secret
            ),
        )
