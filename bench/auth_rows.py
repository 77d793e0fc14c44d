"""What a token and an exchange cost at the auth server: beside a bare server, and with many clients beside few."""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from authserver.config import AuthServerConfig
from bench import load
from bench.bare import BareConfig
from bench.fleet import Fleet, Server, fleet, free_address
from bench.measure import Pairs, Row, Sample, Scale, compare, measure_pairs
from mesh import config
from policy.sources.gateway_config import GatewayConfig
from sekisho.auth.v1 import exchange_service_pb2, token_service_pb2, token_service_pb2_grpc

_ISSUE_TOKEN = "/sekisho.auth.v1.TokenService/IssueToken"  # noqa: S105 - a method
_EXCHANGE_TOKEN = "/sekisho.auth.v1.ExchangeService/ExchangeToken"  # noqa: S105 - a method

_FEW, _MANY = 10, 100_000
_CALLERS = 1_000  # of the many clients, how many call


@dataclass(frozen=True, slots=True)
class _Load:
    """A server, and requests to it in turn."""

    server: Server
    requests: Sequence[bytes]

    def sample(self, method: str, count: int) -> Sample:
        return load.calls(self.server, method, self.requests, count)


async def token(scale: Scale) -> list[Row]:
    """Measure the issuing of tokens."""
    async with fleet() as processes:
        auth, bare = await _start(processes), await _start_bare(processes)
        requests = _issue_requests(processes.add_shops(_FEW))
        return await _measure("auth.token", _ISSUE_TOKEN, _Load(auth, requests), _Load(bare, requests), scale)


async def token_by_http(scale: Scale) -> list[Row]:
    """Measure the issuing of tokens by HTTP, beside that by gRPC at the same server."""
    async with fleet() as processes:
        shops, auth = processes.add_shops(_FEW), await _start(processes)
        url, trust = processes.addresses.oauth, ssl.create_default_context(cafile=processes.addresses.ca)
        async with load.http_connections(url, trust) as connections:
            pairs = await measure_pairs(
                "auth.token.http",
                scale.rounds,
                load.http_requests(auth.pid, connections, _http_requests(url, shops), scale.calls),
                load.calls(auth, _ISSUE_TOKEN, _issue_requests(shops), scale.calls),
            )
        return _rows("auth.token.http", pairs)


async def exchange(scale: Scale) -> list[Row]:
    """Measure the exchange of tokens for private ones."""
    async with fleet() as processes:
        auth, bare = await _start(processes), await _start_bare(processes)
        requests = await _exchange_requests(auth, processes.add_shops(_FEW))
        return await _measure("auth.exchange", _EXCHANGE_TOKEN, _Load(auth, requests), _Load(bare, requests), scale)


async def many_clients(scale: Scale) -> list[Row]:
    """Measure both where there are 100,000 clients, beside a server with 10."""
    async with _many_and_few() as (many, few):
        rows = await _measure("auth.token.100k", _ISSUE_TOKEN, many, few, scale)
        loads = [_Load(each.server, await _as_exchange_requests(each.server, each.requests)) for each in (many, few)]
        return rows + await _measure("auth.exchange.100k", _EXCHANGE_TOKEN, loads[0], loads[1], scale)


async def many_strangers(scale: Scale) -> list[Row]:
    """Measure the issuing of tokens to clients that are not in memory, where there are 100,000, beside one with 10."""
    async with _many_and_few(client_cache_entries=1) as (many, few):
        return await _measure("auth.token.100k.uncached", _ISSUE_TOKEN, many, few, scale)


async def _measure(name: str, method: str, subject: _Load, baseline: _Load, scale: Scale) -> list[Row]:
    for each in (subject, baseline):
        await each.sample(method, len(each.requests))(0)  # whoever can be in memory, is
    pairs = await measure_pairs(
        name, scale.rounds, subject.sample(method, scale.calls), baseline.sample(method, scale.calls)
    )
    return _rows(name, pairs)


def _rows(name: str, pairs: Pairs) -> list[Row]:
    return [
        compare(name, "CPU µs/call", pairs, lambda cost: cost.cpu_microseconds),
        compare(name, "calls/s per core", pairs, lambda cost: cost.per_core_second),
    ]


@asynccontextmanager
async def _many_and_few(**settings: int) -> AsyncIterator[tuple[_Load, _Load]]:
    """Run an auth server with many clients and one with few; yield both, with the token requests of those that call."""
    async with fleet() as large, fleet() as small:
        loads = []
        for processes, count in ((large, _MANY), (small, _FEW)):
            shops = processes.add_shops(count)[:: max(1, count // _CALLERS)]
            loads.append(_Load(await _start(processes, **settings), _issue_requests(shops)))
        yield loads[0], loads[1]


async def _start(processes: Fleet, **settings: int) -> Server:
    """Run the auth server; connect to it with the gateway's certificate."""
    own = config.load(processes.home.config("authserver"), AuthServerConfig)
    file = processes.write_config("authserver", msgspec.structs.replace(own, **settings))
    to_auth = config.load(processes.home.config("gateway"), GatewayConfig).auth
    return Server(await processes.start("authserver", file), await processes.connect(to_auth))


async def _start_bare(processes: Fleet) -> Server:
    """Run a server that answers alike, and does nothing."""
    own = config.load(processes.home.config("authserver"), AuthServerConfig).server
    to_auth = config.load(processes.home.config("gateway"), GatewayConfig).auth
    address = free_address()
    pid = await processes.start_bare("bare", BareConfig(server=msgspec.structs.replace(own, listen=address)))
    return Server(pid, await processes.connect(msgspec.structs.replace(to_auth, target=address)))


def _issue_requests(shops: Sequence[tuple[str, str]]) -> list[bytes]:
    return [
        token_service_pb2.IssueTokenRequest(
            grant_type="client_credentials", client_id=client_id, client_secret=client_secret
        ).SerializeToString()
        for client_id, client_secret in shops
    ]


def _http_requests(url: str, shops: Sequence[tuple[str, str]]) -> list[bytes]:
    """Return the requests for tokens as they go over the wire, with `client_secret_basic`."""
    form = b"grant_type=client_credentials"
    return [
        b"POST /oauth2/token HTTP/1.1\r\n"
        b"Host: %b\r\nAuthorization: Basic %b\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%b"
        % (urlsplit(url).netloc.encode(), b64encode(":".join(shop).encode()), len(form), form)
        for shop in shops
    ]


async def _exchange_requests(auth: Server, shops: Sequence[tuple[str, str]]) -> list[bytes]:
    return await _as_exchange_requests(auth, _issue_requests(shops))


async def _as_exchange_requests(auth: Server, issue_requests: Sequence[bytes]) -> list[bytes]:
    """Take a token by each request; return the requests that exchange them."""
    stub = token_service_pb2_grpc.TokenServiceStub(auth.channel)
    issued = [
        await stub.IssueToken(token_service_pb2.IssueTokenRequest.FromString(request)) for request in issue_requests
    ]
    return [
        exchange_service_pb2.ExchangeTokenRequest(
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=each.access_token,
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",  # noqa: S106 - a type (RFC 8693 §3)
            audience="payments",
        ).SerializeToString()
        for each in issued
    ]
