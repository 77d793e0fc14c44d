"""The processes under test: Sekisho's own services as they ship, and bare ones beside them."""

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import msgspec
from sqlalchemy import Connection

from authserver import client_secrets, store
from authserver.access_tokens import NEW
from authserver.config import AuthServerConfig
from authserver.store import Client
from bench.bare import BareConfig
from cli.configurations import Ports
from cli.home import Home, MeshAddresses
from cli.preparation import prepare, scopes_of
from mesh.access.rules import ClientType
from mesh.channel import open_channel
from mesh.config import ChannelConfig, load
from mesh.database import Database
from mesh.ids import new_id
from mesh.secret_files import read_key
from mesh.timestamps import to_ms

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test: the id of its process, and a channel to it."""

    pid: int
    channel: grpc.aio.Channel


class Fleet:
    """Processes on this machine, in a home of their own, that end with the context.

    Args:
        home: A home that is prepared to run.
        addresses: Where its gateway will be.
        stack: Ends what is started.

    """

    def __init__(self, home: Home, addresses: MeshAddresses, stack: AsyncExitStack) -> None:
        """Start nothing yet."""
        self.home = home
        self.addresses = addresses
        self._stack = stack

    async def start(self, module: str, config: Path | None = None) -> int:
        """Run a module that is a service; return the id of its process. Its log goes to a file, as it does in use."""
        config = config or self.home.config(module)
        with self.home.log(module).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, "--config", str(config), "--lifeline"),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stack.push_async_callback(_stop, process)
        return process.pid

    async def start_bare(self, name: str, config: BareConfig) -> int:
        """Run a bare server or proxy; return the id of its process."""
        file = self.home.path / f"{name}.yaml"
        file.write_bytes(msgspec.json.encode(config, enc_hook=str))  # JSON is YAML
        return await self.start("bench.bare", file)

    async def connect(self, config: ChannelConfig) -> grpc.aio.Channel:
        """Return a channel that is connected, so that what is at its other end is up."""
        channel = await self._stack.enter_async_context(open_channel(config))
        async with asyncio.timeout(_START_SECONDS):
            await channel.channel_ready()
        return channel

    def add_shop(self) -> tuple[str, str]:
        """Add a shop's client beside the auth server's database; return its id and secret."""
        config = load(self.home.config("authserver"), AuthServerConfig)
        secret, now_ms = client_secrets.new_client_secret(), to_ms(time.time())
        client = Client(
            client_id=new_id("cli"),
            client_type=ClientType.PARTNER,
            client_name="a shop",
            platform_id="shops",
            partner_id=new_id("ptn"),
            scopes=scopes_of(ClientType.PARTNER),
            epochs=NEW,
            secret_digest=client_secrets.digest(read_key(config.pepper), secret),
            create_time=now_ms,
        )

        def add(connection: Connection) -> None:
            store.add_partner(connection, client.partner_id, client.platform_id, now_ms)
            store.add_client(connection, client)

        database = Database(config.database)
        try:
            database.run_here(add)
        finally:
            database.close()
        return client.client_id, secret


@asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    """Prepare a home in a temporary folder; on leaving, end what was started in it."""
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder:
        home = Home.at(Path(folder))
        async with AsyncExitStack() as stack:
            yield Fleet(home, prepare(home, Ports.choose(0), None), stack)


def free_address() -> str:
    """Return an address of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
