"""Auth servers on one database, each with a gateway of its own before it, and payments behind them all."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import msgspec

from authserver.config import AuthServerConfig
from bench.fleet import Fleet, Server, free_address
from mesh import config
from mesh.calls.error_info import read_error_info
from mesh.calls.metadata import AUTHORIZATION
from mesh.config import ChannelConfig
from policy.sources.gateway_config import GatewayConfig
from sekisho.auth.v1 import exchange_service_pb2, exchange_service_pb2_grpc, token_service_pb2, token_service_pb2_grpc
from sekisho.payments.v1 import payment_service_pb2, payment_service_pb2_grpc

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Replica:
    """An auth server, as gateways call it, and its gateway, as outsiders call it."""

    auth: Server
    gateway: Server

    async def token(self, shop: tuple[str, str]) -> str:
        """Take a token for a client by its id and secret."""
        client_id, client_secret = shop
        request = token_service_pb2.IssueTokenRequest(
            grant_type="client_credentials", client_id=client_id, client_secret=client_secret
        )
        stub = token_service_pb2_grpc.TokenServiceStub(self.gateway.channel)
        return str((await stub.IssueToken(request, timeout=_TIMEOUT_SECONDS)).access_token)

    async def revoke(self, shop: tuple[str, str], token: str) -> None:
        """Revoke a token of a client."""
        client_id, client_secret = shop
        request = token_service_pb2.RevokeTokenRequest(client_id=client_id, client_secret=client_secret, token=token)
        stub = token_service_pb2_grpc.TokenServiceStub(self.gateway.channel)
        await stub.RevokeToken(request, timeout=_TIMEOUT_SECONDS)

    async def list_payments(self, token: str) -> None:
        """Call payments with a token, through the gateway."""
        stub = payment_service_pb2_grpc.PaymentServiceStub(self.gateway.channel)
        request = payment_service_pb2.ListPaymentsRequest()
        await stub.ListPayments(request, metadata=bearer(token), timeout=_TIMEOUT_SECONDS)

    async def exchange(self, token: str, position: int = 0) -> exchange_service_pb2.ExchangeTokenResponse:
        """Exchange a token at the auth server, as a gateway that has heard of revocations up to a position."""
        request = exchange_service_pb2.ExchangeTokenRequest(
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=token,
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",  # noqa: S106 - a type (RFC 8693 §3)
            audience="payments",
            revocation_position=position,
        )
        stub = exchange_service_pb2_grpc.ExchangeServiceStub(self.auth.channel)
        reply: exchange_service_pb2.ExchangeTokenResponse = await stub.ExchangeToken(request, timeout=_TIMEOUT_SECONDS)
        return reply


async def start_payments(processes: Fleet) -> None:
    """Run payments."""
    await processes.start("payments")
    backends = config.load(processes.home.config("gateway"), GatewayConfig).backends
    await processes.connect(next(each.channel for each in backends if each.name == "payments"))


async def start_replica(
    processes: Fleet, address: str, *, way: str = "", database: str = "", **gateway_settings: float
) -> Replica:
    """Run one more auth server, and its gateway.

    Args:
        processes: What it is one of.
        address: Where the auth server is to listen.
        way: Where its gateway is to look for it, if elsewhere.
        database: The database's URL, if this auth server is to reach it by another one.
        gateway_settings: What else is to differ in the gateway's configuration.

    """
    name = address.replace(":", "-")
    auth = config.load(processes.home.config("authserver"), AuthServerConfig)
    auth = msgspec.structs.replace(
        auth,
        server=msgspec.structs.replace(auth.server, listen=address),
        http=None,  # there is one port for it
        database=database or auth.database,
        audit_heads=processes.home.folder("authserver") / f"audit-heads-{name}.jsonl",
    )
    door = free_address()
    gateway = _gateway(config.load(processes.home.config("gateway"), GatewayConfig), door, way or address)
    gateway = msgspec.structs.replace(gateway, **gateway_settings)
    auth_pid = await processes.start("authserver", processes.write_config(f"authserver-{name}", auth))
    gateway_pid = await processes.start("gateway", processes.write_config(f"gateway-{name}", gateway))
    return Replica(
        Server(auth_pid, await processes.connect(msgspec.structs.replace(gateway.auth, target=address))),
        Server(gateway_pid, await processes.connect(ChannelConfig(target=door, ca=processes.addresses.ca))),
    )


def _gateway(own: GatewayConfig, door: str, auth: str) -> GatewayConfig:
    """Return the configuration of a gateway at another door, with another auth server."""
    [listener] = own.listeners
    listener = msgspec.structs.replace(listener, server=msgspec.structs.replace(listener.server, listen=door))
    backends = [
        msgspec.structs.replace(each, channel=msgspec.structs.replace(each.channel, target=auth))
        if each.name == "authserver"
        else each
        for each in own.backends
    ]
    to_auth = msgspec.structs.replace(own.auth, target=auth)
    return msgspec.structs.replace(own, listeners=(listener,), auth=to_auth, backends=tuple(backends))


async def seconds_until_refused(call: Callable[[], Awaitable[object]], since: float) -> float:
    """Call again and again until the token is not accepted; return when that was heard.

    Raises:
        grpc.aio.AioRpcError: If anything else goes wrong.

    """
    while True:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            if read_error_info(error)[0] != "INVALID_TOKEN":
                raise
            return time.perf_counter() - since


@asynccontextmanager
async def calling(replicas: Sequence[Replica], shops: Sequence[tuple[str, str]]) -> AsyncIterator[list[int]]:
    """Have each shop call by the gateways in turn, one call after the other, as long as the context lasts.

    Yields the number of calls so far of each shop. A call that fails ends the context with its error.
    """
    counts = [0] * len(shops)

    async def call(number: int, token: str) -> None:
        for replica in itertools.cycle(replicas):
            await replica.list_payments(token)
            counts[number] += 1

    tokens = [await replicas[0].token(shop) for shop in shops]
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(call(number, token)) for number, token in enumerate(tokens)]
        yield counts
        for each in callers:
            each.cancel()


def bearer(token: str) -> list[tuple[str, str]]:
    """Return the metadata that show a token."""
    return [(AUTHORIZATION, f"Bearer {token}")]
