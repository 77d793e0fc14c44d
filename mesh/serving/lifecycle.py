"""The life of a service's process: start, wait for the signal, drain, end."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from mesh.config import ConfigError, ServiceConfig, load
from mesh.errors import DatabaseUnavailable
from mesh.telemetry.logging import configure_logging

S = TypeVar("S", bound=ServiceConfig)

_log = structlog.get_logger()
_RETRY_SECONDS = 1.0  # between attempts to start while the database is not there


def run_service(
    name: str, kind: type[S], running: Callable[[S], AbstractAsyncContextManager[object]], arguments: list[str]
) -> int:
    """Run a service until SIGTERM or SIGINT; return the process's exit status.

    Args:
        name: The service, as the log calls it.
        kind: The struct that its configuration file is read into.
        running: Starts the service on entering, stops it gracefully on leaving.
        arguments: The command line after the program's name.

    """
    parser = argparse.ArgumentParser(prog=name, description=f"Runs the {name} service until SIGTERM.")
    parser.add_argument("--config", type=Path, required=True, help="the configuration file, YAML")
    parser.add_argument("--metrics-listen", help="where metrics are read, host:port, in place of what the file says")
    parser.add_argument("--lifeline", action="store_true", help="also stop when standard input closes")
    options = parser.parse_args(arguments)
    configure_logging(name)
    try:
        config = load(options.config, kind)
        if options.metrics_listen:
            config = msgspec.structs.replace(config, metrics_listen=options.metrics_listen)
        asyncio.run(_run(lambda: running(config), lifeline=options.lifeline))
    except ConfigError as error:
        _log.error("can't start", error=str(error))
        return 2
    return 0


async def _run(running: Callable[[], AbstractAsyncContextManager[object]], *, lifeline: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if lifeline:
        # The supervisor holds the other end of the pipe; however it dies, the pipe closes.
        loop.add_reader(sys.stdin, _watch_lifeline, stop)
    while not stop.is_set():
        try:
            async with running():
                _log.info("started")
                # What is here now stays. Otherwise each full collection looks through it, and no call is answered for
                # 30 ms and more; and so do three at the end.
                gc.freeze()
                await stop.wait()
                _log.info("stopping")
        except DatabaseUnavailable:
            _log.warning("can't start without the database; trying again", seconds=_RETRY_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS):
                    await stop.wait()
    _log.info("stopped")


def _watch_lifeline(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin)  # a closed pipe stays readable
        stop.set()
