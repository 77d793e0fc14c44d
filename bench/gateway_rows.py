"""What a call costs at the gateway, beside a bare proxy to the same backend."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from bench import load
from bench.bare import STREAM, UNARY, BareConfig
from bench.fleet import Server, fleet, free_address
from bench.measure import Row, Scale, compare, measure_pairs
from cli.supervisor import answer_of
from gateway.config import GatewayConfig
from gateway.server import REVOCATIONS
from mesh import config
from mesh.config import ChannelConfig
from payments.config import PaymentsConfig
from sekisho.auth.v1 import token_service_pb2 as pb
from sekisho.auth.v1 import token_service_pb2_grpc as pb_grpc

_MESSAGE = bytes(200)
_CALLS_PER_STREAM = 400  # so that a sample of streams takes about as long as one of calls


async def unary(scale: Scale) -> list[Row]:
    """Measure unary calls with one token, so that its exchange is cached."""
    async with _proxies() as (gateway, bare, metadata):
        subject, baseline = (
            load.calls(server, UNARY, [_MESSAGE], scale.calls, metadata=metadata) for server in (gateway, bare)
        )
        pairs = await measure_pairs("gateway.unary", scale.rounds, subject, baseline)
    return [compare("gateway.unary", "CPU µs/call", pairs, lambda cost: cost.cpu_microseconds)]


async def stream(scale: Scale) -> list[Row]:
    """Measure streams from the backend to the caller."""
    streams = max(1, scale.calls // _CALLS_PER_STREAM)
    async with _proxies() as (gateway, bare, metadata):
        subject, baseline = (
            load.messages(server, STREAM, _MESSAGE, streams, metadata=metadata) for server in (gateway, bare)
        )
        pairs = await measure_pairs("gateway.stream", scale.rounds, subject, baseline)
    return [compare("gateway.stream", "CPU µs/message", pairs, lambda cost: cost.cpu_microseconds)]


@asynccontextmanager
async def _proxies() -> AsyncIterator[tuple[Server, Server, load.Metadata]]:
    """Run gateway and bare proxy before one backend; yield both, and the metadata that opens the gateway."""
    async with fleet() as processes:
        settings = config.load(processes.home.config("gateway"), GatewayConfig)
        backend = next(backend for backend in settings.backends if backend.name == "payments").channel
        echo = config.load(processes.home.config("payments"), PaymentsConfig).server
        public = msgspec.structs.replace(settings.listeners[0].server, listen=free_address())
        await processes.start("authserver")
        await processes.start_bare("echo", BareConfig(server=echo))
        bare_pid = await processes.start_bare("proxy", BareConfig(server=public, backend=backend))
        gateway_pid = await processes.start("gateway")
        for inner in (settings.auth, backend):
            await processes.connect(inner)
        gateway, bare = [
            Server(pid, await processes.connect(ChannelConfig(target=target, ca=processes.addresses.ca)))
            for pid, target in ((gateway_pid, processes.addresses.gateway), (bare_pid, public.listen))
        ]
        await answer_of(gateway.channel, REVOCATIONS)  # from now on it keeps exchanges
        [(client_id, client_secret)] = processes.add_shops()
        request = pb.IssueTokenRequest(
            grant_type="client_credentials", client_id=client_id, client_secret=client_secret, scope="payments.read"
        )
        issued = await pb_grpc.TokenServiceStub(gateway.channel).IssueToken(request)
        yield gateway, bare, [("authorization", f"Bearer {issued.access_token}")]
