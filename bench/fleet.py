"""The processes under test: Sekisho's own services as they ship, and bare ones beside them."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import msgspec
from sqlalchemy import Connection

from authserver.access_tokens import NEW
from authserver.clients.register import mint
from authserver.clients.store.clients import Client, add_clients
from authserver.clients.store.platforms import add_partner
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from bench.bare import BareConfig
from cli.home import Home, MeshAddresses
from cli.local.configurations import HOST, MeshOptions, Ports, reserved_port
from cli.local.preparation import prepare, scopes_of
from mesh.access.rules import ClientType
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig, Config, load
from mesh.ids import new_id
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from policy.sources.gateway_config import GatewayConfig, LimitsConfig, RateConfig

T = TypeVar("T")

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_ANY = RateConfig(per_second=1_000_000, burst=1_000_000)


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
        return await self.start("bench.bare", self.write_config(name, config))

    def write_config(self, name: str, config: Config) -> Path:
        """Write a configuration; return its file."""
        file = self.home.path / f"{name}.yaml"
        _write(file, config)
        return file

    async def connect(self, config: ChannelConfig) -> grpc.aio.Channel:
        """Return a channel that is connected, so that what is at its other end is up."""
        channel = await self._stack.enter_async_context(open_channel(config))
        async with asyncio.timeout(_START_SECONDS):
            await channel.channel_ready()
        return channel

    def add_shops(self, count: int = 1, *, partners: int = 1, platform_id: str = "shops") -> Sequence[tuple[str, str]]:
        """Add shops' clients beside the auth server's database; return their ids and secrets.

        Args:
            count: How many.
            partners: The number of new partners that they are of, in turn.
            platform_id: The platform that these are of.

        """
        now_ms, partner_ids = to_ms(time.time()), [new_id("ptn") for _ in range(partners)]
        peppers = read_installation(load(self.home.config("authserver"), AuthServerConfig)).peppers
        scopes = scopes_of(ClientType.PARTNER)
        minted = [
            mint(_shop(platform_id, partner_ids[number % partners], scopes, now_ms), peppers) for number in range(count)
        ]

        def add(connection: Connection) -> None:
            for partner_id in partner_ids:
                add_partner(connection, partner_id, platform_id, now_ms)
            add_clients(connection, [each.client for each in minted])

        self.beside_auth_server(add)
        return [(each.client.client_id, each.client_secret) for each in minted]

    def beside_auth_server(self, work: Callable[[Connection], T]) -> T:
        """Run a unit of work on the auth server's database, as the command line does."""
        database = Database(self.home.database("authserver"))
        try:
            return database.run_here(work)
        finally:
            database.close()


@asynccontextmanager
async def fleet(databases: str | None = None) -> AsyncIterator[Fleet]:
    """Prepare a home in a temporary folder; on leaving, end what was started in it.

    Args:
        databases: The URL of the services' databases, with `{service}` in place of each one's name; None for SQLite.

    """
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder:
        home = Home.at(Path(folder))
        async with AsyncExitStack() as stack:
            addresses = prepare(home, Ports.choose(0), MeshOptions(databases))
            _lift_limits(home.config("gateway"))
            yield Fleet(home, addresses, stack)


def _lift_limits(file: Path) -> None:
    """Let the gateway take any number of calls: what is measured is what they cost."""
    limits = LimitsConfig(address=_ANY, client=_ANY)
    _write(file, msgspec.structs.replace(load(file, GatewayConfig), limits=limits))


def _write(file: Path, config: Config) -> None:
    file.write_bytes(msgspec.json.encode(config, enc_hook=str))  # JSON is YAML


def _shop(platform_id: str, partner_id: str, scopes: frozenset[str], now_ms: int) -> Client:
    return Client(
        client_id=new_id("cli"),
        client_type=ClientType.PARTNER,
        client_name="a shop",
        platform_id=platform_id,
        partner_id=partner_id,
        scopes=scopes,
        epochs=NEW,
        create_time=now_ms,
    )


def free_address() -> str:
    """Return an address of this machine that nobody listens on."""
    return f"{HOST}:{reserved_port()}"


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
