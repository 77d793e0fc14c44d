"""What a call costs at the gateway, beside a bare proxy to the same backend."""

import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bench import load
from bench.bare import STREAM, UNARY, BareConfig
from bench.fleet import Fleet, Server, fleet, free_address
from bench.measure import Row, Scale, Spread, compare, measure_pairs, say
from cli.local.supervisor import answer_of
from mesh import config
from mesh.config import ChannelConfig
from payments.config import PaymentsConfig
from policy.sources.gateway_config import REVOCATIONS, GatewayConfig
from sekisho.auth.v1 import token_service_pb2 as pb
from sekisho.auth.v1 import token_service_pb2_grpc as pb_grpc

_MESSAGE = bytes(200)
# So that each sample takes about as long.
_CALLS_PER_LARGE = 10
_CALLS_PER_STREAM = 400


async def unary(scale: Scale) -> list[Row]:
    """Measure unary calls with one token, so that its exchange is cached."""
    async with proxies() as (gateway, bare, metadata):
        subject, baseline = (
            load.calls(server, UNARY, [_MESSAGE], scale.calls, metadata=metadata) for server in (gateway, bare)
        )
        pairs = await measure_pairs("gateway.unary", scale.rounds, subject, baseline)
    return [compare("gateway.unary", "CPU µs/call", pairs, lambda cost: cost.cpu_microseconds)]


async def large(scale: Scale) -> list[Row]:
    """Measure unary calls with messages of a mebibyte, there and back."""
    count = max(1, scale.calls // _CALLS_PER_LARGE)
    async with proxies() as (gateway, bare, metadata):
        subject, baseline = (
            load.calls(server, UNARY, [bytes(1024 * 1024)], count, metadata=metadata) for server in (gateway, bare)
        )
        pairs = await measure_pairs("gateway.large", scale.rounds, subject, baseline)
    return [compare("gateway.large", "CPU µs/call", pairs, lambda cost: cost.cpu_microseconds)]


async def latency(scale: Scale) -> list[Row]:
    """Measure how long calls take that come half as fast as the gateway can answer them."""
    name = "gateway.latency"
    figures: dict[str, list[tuple[float, float]]] = {"p50": [], "p99": []}
    async with proxies() as (gateway, bare, metadata):
        full = await load.calls(gateway, UNARY, [_MESSAGE], scale.calls, metadata=metadata)(0)
        rate = full.per_second / 2
        for number in range(scale.rounds + 1):
            say(f"{name}: pair {number} of {scale.rounds}" if number else f"{name}: warming up, {rate:.0f} calls/s")
            taken = [
                await load.latencies(server, UNARY, _MESSAGE, scale.calls, rate, metadata=metadata)
                for server in (gateway, bare)
            ]
            cuts = [statistics.quantiles(each, n=100, method="inclusive") for each in taken]
            for figure, at in (("p50", 49), ("p99", 98)):
                figures[figure].append((cuts[0][at] * 1e3, cuts[1][at] * 1e3))
    return [
        Row(
            f"{name}.{figure}",
            "ms",
            Spread.of(ours for ours, _ in pairs[1:]),
            Spread.of(bares for _, bares in pairs[1:]),
            Spread.of(ours / bares for ours, bares in pairs[1:]),
        )
        for figure, pairs in figures.items()
    ]


async def stream(scale: Scale) -> list[Row]:
    """Measure streams from the backend to the caller."""
    streams = max(1, scale.calls // _CALLS_PER_STREAM)
    async with proxies() as (gateway, bare, metadata):
        subject, baseline = (
            load.messages(server, STREAM, _MESSAGE, streams, metadata=metadata) for server in (gateway, bare)
        )
        pairs = await measure_pairs("gateway.stream", scale.rounds, subject, baseline)
    return [compare("gateway.stream", "CPU µs/message", pairs, lambda cost: cost.cpu_microseconds)]


@asynccontextmanager
async def proxies(restrictions: Path | None = None) -> AsyncIterator[tuple[Server, Server, load.Metadata]]:
    """Run gateway, with restrictions or none, and bare proxy before one backend; yield both, and what opens it."""
    async with fleet() as processes:
        settings = config.load(processes.home.config("gateway"), GatewayConfig)
        settings = msgspec.structs.replace(settings, restrictions=restrictions, metrics_listen=free_address())
        backend = next(backend for backend in settings.backends if backend.name == "payments").channel
        echo = config.load(processes.home.config("payments"), PaymentsConfig).server
        public = msgspec.structs.replace(settings.listeners[0].server, listen=free_address())
        await processes.start("authserver")
        await processes.start_bare("echo", BareConfig(server=echo))
        bare_pid = await processes.start_bare("proxy", BareConfig(server=public, backend=backend))
        gateway_pid = await processes.start("gateway", processes.write_config("gateway", settings))
        for inner in (settings.auth, backend):
            await processes.connect(inner)
        gateway, bare = [
            Server(pid, await processes.connect(ChannelConfig(target=target, ca=processes.addresses.ca)))
            for pid, target in ((gateway_pid, processes.addresses.gateway), (bare_pid, public.listen))
        ]
        yield gateway, bare, await opening(processes, [gateway])


async def opening(processes: Fleet, gateways: Sequence[Server]) -> load.Metadata:
    """Wait until gateways keep exchanges; return what a new shop's calls go with."""
    for gateway in gateways:
        await answer_of(gateway.channel, REVOCATIONS)
    [(client_id, client_secret)] = processes.add_shops()
    request = pb.IssueTokenRequest(
        grant_type="client_credentials", client_id=client_id, client_secret=client_secret, scope="payments.read"
    )
    issued = await pb_grpc.TokenServiceStub(gateways[0].channel).IssueToken(request)
    return [("authorization", f"Bearer {issued.access_token}")]
