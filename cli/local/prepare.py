"""`sekisho prepare`."""

import re
import shlex
from typing import Annotated

import typer

from cli.home import DEFAULT_HOME, Home
from cli.local.configurations import DEFAULT_PORT, MeshOptions, Plane, Ports
from cli.local.preparation import prepare as prepare_home
from cli.local.up import PlaneOption
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.config import ConfigError
from mesh.security import pki

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def prepare(
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[
        int, typer.Option(min=0, max=65400, help="The gateway's port; the others follow it. 0: free ports.")
    ] = DEFAULT_PORT,
    workload: Annotated[
        list[str] | None, typer.Option(help="A service of your own that needs a certificate, too.")
    ] = None,
    plane: PlaneOption = Plane.GATEWAY,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write all that `sekisho up` writes, and start nothing: `sekisho serve` then runs the services, one by one.

    Example: sekisho prepare --workload greeter
    """
    there = Home.at(home)
    for name in workload or ():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name} is no name for a workload: lower-case letters, digits, and hyphens between them")
    with there.locked():
        prepare_home(there, Ports.choose(port), MeshOptions(plane=plane))
        for name in workload or ():
            _certify(there, name)
    if as_json:
        print_json({"home": str(there.path), "workloads": workload or []})
        return
    told = f"{there.path} is prepared; next: sekisho serve authserver --home {shlex.quote(str(there.path))}"
    console.print(told, soft_wrap=True, markup=False)


def _certify(home: Home, workload: str) -> None:
    """Make a workload's certificate, if there is none of its name."""
    if not (home.pki / f"{workload}.pem").exists():
        pki.issue_workload(pki.create_authority(home.pki, "workload-ca"), home.pki, workload)
