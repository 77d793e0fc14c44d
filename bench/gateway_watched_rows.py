"""What it costs to watch a gateway, beside one before the same backend that is watched less."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import msgspec

from bench import load
from bench.bare import UNARY, BareConfig
from bench.fleet import Server, fleet, free_address
from bench.gateway_rows import opening
from bench.measure import Row, Scale, compare, measure_pairs
from cli.local.configurations import HOST
from mesh import config
from mesh.calls.wrapping import Context, Handler
from mesh.config import ChannelConfig, TracingConfig
from payments.config import PaymentsConfig
from policy.sources.gateway_config import GatewayConfig

_MESSAGE = bytes(200)
_COLLECTOR = "opentelemetry.proto.collector.trace.v1.TraceService"


async def observed(scale: Scale) -> list[Row]:
    """Measure unary calls with log and metrics, beside a gateway that has neither."""
    return await _measure("gateway.observed", scale, metrics_listen=free_address(), beside="bench.silent_gateway")


async def traced(scale: Scale) -> list[Row]:
    """Measure unary calls of which one in a hundred is traced, beside a gateway that does not trace."""
    async with _collector() as endpoint:
        tracing = TracingConfig(endpoint=endpoint, sample_ratio=0.01)
        return await _measure("gateway.traced", scale, tracing=tracing, beside="gateway")


async def _measure(name: str, scale: Scale, *, beside: str, **watched: object) -> list[Row]:
    """Measure unary calls at a gateway with more in its configuration, beside a process of a module without."""
    async with fleet() as processes:
        settings = config.load(processes.home.config("gateway"), GatewayConfig)
        payments = config.load(processes.home.config("payments"), PaymentsConfig)
        [door] = settings.listeners
        other_door = msgspec.structs.replace(door.server, listen=free_address())
        other = msgspec.structs.replace(settings, listeners=(msgspec.structs.replace(door, server=other_door),))
        await processes.start("authserver")
        await processes.start_bare("echo", BareConfig(server=payments.server))
        pids = [
            await processes.start(
                "gateway", processes.write_config("watched", msgspec.structs.replace(settings, **watched))
            ),
            await processes.start(beside, processes.write_config("beside", other)),
        ]
        servers = [
            Server(pid, await processes.connect(ChannelConfig(target=listen, ca=processes.addresses.ca)))
            for pid, listen in zip(pids, (door.server.listen, other_door.listen), strict=True)
        ]
        metadata = await opening(processes, servers)
        subject, baseline = (
            load.calls(server, UNARY, [_MESSAGE], scale.calls, metadata=metadata) for server in servers
        )
        pairs = await measure_pairs(name, scale.rounds, subject, baseline)
    return [compare(name, "CPU µs/call", pairs, lambda cost: cost.cpu_microseconds)]


@asynccontextmanager
async def _collector() -> AsyncIterator[str]:
    """Take traces, and keep none; yield where."""

    async def export(_request: bytes, _context: Context) -> bytes:
        return b""

    server = grpc.aio.server()
    handlers: dict[str, Handler] = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_COLLECTOR, handlers)])
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        await server.stop(None)
