"""`sekisho envoy` and its commands."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.home import DEFAULT_HOME, Home
from cli.output import HomeOption, JsonOption, console, print_json
from cli.rendered_envoy import binary, write
from envoy_plane.rendering.render import BOOTSTRAP, ENVOY_VERSION, render
from mesh.config import ConfigError, load
from policy.routes import compile_routes
from policy.sources.contracts import read_contracts
from policy.sources.gateway_config import GatewayConfig

envoy = typer.Typer(no_args_is_help=True, help="Have Envoy carry the calls: render its configuration.")


@envoy.callback()
def _group() -> None:
    """Keep the group a group though it has one command."""


@envoy.command(name="render")
def render_(
    output: Annotated[Path, typer.Option("--output", help="The folder to write to, made if it is not there.")],
    config: Annotated[
        Path | None, typer.Option(help="The gateway's configuration, with a part `envoy`. Default: the one in --home.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    check: Annotated[bool, typer.Option("--check", help="Have Envoy itself check what was written.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write Envoy's configuration: a route for each method, and the question to the checkpoint.

    Contracts, grants and the gateway's configuration are read as the gateway reads them. The same policy gives the same
    files. Certificates and keys stay in their own files; Envoy reads them again when they are replaced.

    Examples:
    sekisho envoy render --config gateway.yaml --output /etc/envoy --check;
    envoy -c /etc/envoy/envoy.yaml

    """
    settings = load(config or Home.at(home).config("gateway"), GatewayConfig)
    files = render(settings, compile_routes(settings, read_contracts(settings).methods), output)
    write(output, files)
    if check:
        _check(output / BOOTSTRAP)
    if as_json:
        print_json({"output": str(output), "envoy": ENVOY_VERSION, "files": sorted(files), "checked": check})
    else:
        told = f"{output}: {len(files)} files for Envoy {ENVOY_VERSION}{', which it finds good' if check else ''}"
        console.print(told, soft_wrap=True, markup=False)


def _check(bootstrap: Path) -> None:
    checked = subprocess.run(  # noqa: S603 - it runs what the user has installed
        [binary(), "--mode", "validate", "-c", str(bootstrap), "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode:
        print(checked.stderr or checked.stdout, file=sys.stderr, end="")  # noqa: T201 - Envoy's own words
        raise ConfigError(f"{bootstrap}: Envoy refuses it, for the reason above")
