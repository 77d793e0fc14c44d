"""`sekisho up`."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
import typer
from rich.markup import escape

from cli.home import DEFAULT_HOME, Home, MeshAddresses
from cli.local.configurations import DEFAULT_PORT, HOST, MeshOptions, Plane, Ports, require_free
from cli.local.envoy import ENVOY
from cli.local.preparation import prepare
from cli.local.signals import until_signal
from cli.local.supervisor import Supervisor, processes, supervised
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.config import ConfigError, TracingConfig

PlaneOption: TypeAlias = Annotated[
    Plane,
    typer.Option("--plane", help="What carries the calls: the gateway, or Envoy, which asks a checkpoint."),
]

_TEXT = """[bold green]The mesh is up.[/] Ctrl-C stops it.

  gateway              {gateway}
  shops                {shops}
  OAuth by HTTP        {oauth}
  CA of all            {ca}
  Master Client        {master_credentials}
  operator             {operator_credentials}
  wallet application   {wallet_credentials}
  logs                 {logs}
  metrics              {metrics[authserver]} and others: --json

Try, in another terminal: [bold]sekisho demo --home {home}[/], and [bold]sekisho top --home {home}[/] to watch it"""


def up(  # noqa: PLR0913 - a command's options
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[
        int, typer.Option(min=0, max=65400, help="The gateway's port; the others follow it. 0: free ports.")
    ] = DEFAULT_PORT,
    database: Annotated[
        str | None,
        typer.Option(help="The URL of the services' databases, with {service} in place of each name. Default: SQLite."),
    ] = None,
    gateways: Annotated[int, typer.Option(min=1, max=64, help="How many processes of the gateway share its port.")] = 1,
    restrictions: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The gateway's file of restrictions, followed as it changes."),
    ] = None,
    traces: Annotated[
        str | None,
        typer.Option(help="The OTLP collector that receives the traces of all calls, such as http://localhost:4317."),
    ] = None,
    plane: PlaneOption = Plane.GATEWAY,
    *,
    as_json: JsonOption = False,
) -> None:
    """Start everything on this machine, and stay until Ctrl-C or SIGTERM.

    Writes all under --home: a development CA, keys, configurations, SQLite databases, credentials, logs.

    Examples:
    sekisho up --home /tmp/mesh --port 0 --json;
    sekisho up --database 'postgresql://localhost/sekisho_{service}';
    sekisho up --restrictions restrictions.yaml --traces http://localhost:4317;
    sekisho up --plane envoy

    """
    if database and "{service}" not in database:
        raise ConfigError("--database needs {service} in it: each service has a database of its own")
    if traces:
        _require_endpoint(traces)
    if plane is Plane.ENVOY and gateways > 1:
        raise ConfigError("--gateways is for the gateway itself; one Envoy uses all cores")
    options = MeshOptions(database, gateways, restrictions, traces, plane)
    asyncio.run(until_signal(_stay(Home.at(home), port, options, as_json=as_json)))


def _require_endpoint(traces: str) -> None:
    try:
        msgspec.convert({"endpoint": traces}, TracingConfig)
    except msgspec.ValidationError as error:
        raise ConfigError("--traces needs the collector's address, such as http://localhost:4317") from error


@asynccontextmanager
async def mesh_up(
    home: Home, port: int, options: MeshOptions | None = None
) -> AsyncIterator[tuple[MeshAddresses, Supervisor]]:
    """Run a mesh in a home as long as the context lasts.

    Raises:
        ConfigError: If a mesh is up there already, or several gateways are to share a port that is taken.
        ServiceDied: If a service does not come up.

    """
    options = options or MeshOptions()
    with home.locked():
        names = processes(options.gateways, options.plane)
        ports = Ports.choose(port, len(names))
        if options.gateways > 1:
            require_free(ports.gateway)  # who shares a port would not notice a stranger there
        addresses = prepare(home, ports, options)
        metrics = {name: f"{HOST}:{number}" for name, number in zip(names, ports.metrics, strict=True)}
        urls = {name: f"http://{address}/metrics" for name, address in metrics.items()}
        if ENVOY in urls:
            urls[ENVOY] = f"http://{HOST}:{ports.envoy_admin}/stats/prometheus"
        addresses = msgspec.structs.replace(addresses, metrics=urls)
        async with supervised(home, names, metrics) as supervisor:
            home.write_addresses(addresses)
            try:
                yield addresses, supervisor
            finally:
                home.forget_addresses()


async def _stay(home: Home, port: int, options: MeshOptions, *, as_json: bool) -> None:
    if not as_json:
        console.print(f"starting {', '.join(processes(1, options.plane))} …")
    async with mesh_up(home, port, options) as (addresses, supervisor):
        where = msgspec.structs.asdict(addresses)
        if as_json:
            print_json(where)
        else:
            told = {name: escape(str(value)) for name, value in where.items() if name != "metrics"}
            text = _TEXT.format(home=escape(shlex.quote(str(home.path))), metrics=where["metrics"], **told)
            console.print(text, soft_wrap=True)
        await supervisor.died()
