"""Good clients and hostile peers together, for seconds in `make test` and for minutes in `make soak`."""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from tests.soak.load import Load
from tests.soak.peers import PEERS
from tests.soak.target import PATIENCE_SECONDS, Target, target

# How long `make soak` is to go on; 0 in `make test`, which has one round.
MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
_LOADS = 3
_MIB = 1024 * 1024


async def test_the_gateway_is_as_it_was_after_good_and_bad_have_come_and_gone(folder: Path, tmp_path: Path) -> None:
    async with target(folder, tmp_path) as attacked, AsyncExitStack() as stack:
        config = ChannelConfig(target=f"127.0.0.1:{attacked.port}", ca=attacked.ca)
        channel = await stack.enter_async_context(open_channel(config))
        await channel.channel_ready()
        load = Load(channel)
        memory = await soaked(attacked, load)
        assert load.failed == []
        assert load.done > _LOADS
        assert attacked.neighbour.refused == []
        assert memory[-1] < memory[0] + 200 * _MIB
        # The first half has made the room that is needed; a leak goes on.
        assert memory[-1] < memory[len(memory) // 2] + 32 * _MIB


async def soaked(attacked: Target, load: Load) -> list[int]:
    """Let all peers come, in rounds; return the bytes that the gateway had before and after each."""
    start, before = time.monotonic(), await attacked.health()
    memory = [before.memory]
    while len(memory) == 1 or time.monotonic() - start < MINUTES * 60:
        async with AsyncExitStack() as stack:
            for number in range(_LOADS):
                loading = asyncio.create_task(load.run(number * 300 + load.done))
                stack.push_async_callback(asyncio.wait, [loading])
                stack.callback(loading.cancel)
            for peer in PEERS.values():
                async with asyncio.timeout(2 * PATIENCE_SECONDS):
                    await peer(attacked)
        memory.append((await attacked.recovered(before)).memory)
        tell(start, memory[-1], load, attacked)
    return memory


def tell(start: float, memory: int, load: Load, attacked: Target) -> None:
    if MINUTES:
        sys.stderr.write(
            f"{(time.monotonic() - start) / 60:5.1f} of {MINUTES:g} minutes: {memory / _MIB:.0f} MiB, "
            f"{load.done} calls and streams, {len(load.failed)} failed, the slowest call of a neighbour took "
            f"{attacked.neighbour.slowest:.2f} s\n"
        )
