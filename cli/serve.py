"""`sekisho serve`."""

import enum
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.home import DEFAULT_HOME, Home, program
from cli.output import HomeOption


class ServiceName(enum.StrEnum):
    """The services."""

    AUTHSERVER = "authserver"
    PAYMENTS = "payments"
    GATEWAY = "gateway"
    CHECKPOINT = "checkpoint"
    SHOPS = "shops"


def serve(
    service: Annotated[ServiceName, typer.Argument(help="Which service.")],
    config: Annotated[
        Path | None, typer.Option(help="Its configuration file. Default: the one that `up` wrote in --home.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Run one service in this process until SIGTERM. Logs go to standard error, as JSON lines.

    The checkpoint is what Envoy asks where Envoy carries the calls; it reads the gateway's configuration.

    Example: sekisho serve gateway --config /etc/sekisho/gateway.yaml
    """
    module, of = program(service)
    file = config or Home.at(home).config(of)
    os.execv(sys.executable, [sys.executable, "-m", module, "--config", str(file)])  # noqa: S606 - no shell is wanted
