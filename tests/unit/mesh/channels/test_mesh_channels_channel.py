import asyncio
from pathlib import Path

from tests.tcp_proxy import proxied
from tests.unit.mesh.echo_servers import UNARY, calling, echo_server, server_config, started, unary

HALF_A_SECOND = 0.5  # a far-away or a busy machine


async def test_a_handshake_may_take_its_time(certificates: Path) -> None:
    async with (
        started(echo_server(server_config(certificates), unary())) as server,
        proxied(server.port) as way,
        calling(server, certificates, port=way.port) as channel,
    ):
        way.hold()
        call = asyncio.ensure_future(channel.unary_unary(UNARY)(b"hello"))
        ended, _ = await asyncio.wait({call}, timeout=HALF_A_SECOND)
        assert not ended
        way.release()
        assert await call == b"hello"
