"""`sekisho top`: what a running mesh does, as its metrics tell."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated
from urllib.error import URLError
from urllib.request import urlopen

import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group
from rich.live import Live
from rich.table import Table

from cli.home import DEFAULT_HOME, Home
from cli.local.rates import Samples, View, compare, samples
from cli.local.signals import until_signal
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.config import ConfigError

_TIMEOUT_SECONDS = 2.0
_SHOWN = 15


def top(
    home: HomeOption = DEFAULT_HOME,
    interval: Annotated[float, typer.Option(min=0.2, max=60.0, help="Seconds between two looks.")] = 2.0,
    *,
    once: Annotated[bool, typer.Option("--once", help="Show one interval, and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Watch the mesh that is up: calls per second, refusals by reason, latency, and who calls, until Ctrl-C.

    Clients are counted by their type: who each of them is, the log tells. With --json, prints a line for each interval.

    Examples:
    sekisho top;
    sekisho top --once --json

    """
    there = Home.at(home)
    if not there.is_up():
        raise ConfigError(f"no mesh is up in {there.path}; start one: sekisho up --home {there.path}")
    urls = there.read_addresses().metrics
    if not urls:
        raise ConfigError(f"the mesh in {there.path} tells no metrics; start it again with this version")
    asyncio.run(until_signal(_watch(urls, interval, once=once, as_json=as_json)))


async def _watch(urls: Mapping[str, str], interval: float, *, once: bool, as_json: bool) -> None:
    before, since = await _look(urls), time.monotonic()
    with Live(console=console, auto_refresh=False, screen=not (once or as_json)) as live:
        while True:
            await asyncio.sleep(interval)
            after, now = await _look(urls), time.monotonic()
            view = compare(before, after, now - since)
            if as_json:
                print_json(asdict(view))
            else:
                live.update(_shown(view), refresh=True)
            if once:
                return
            before, since = after, now


async def _look(urls: Mapping[str, str]) -> Mapping[str, Samples | None]:
    """Return what each process tells; None for one that tells nothing."""
    found = await asyncio.gather(*(asyncio.to_thread(_read, url) for url in urls.values()))
    return dict(zip(urls, found, strict=True))


def _read(url: str) -> Samples | None:
    try:
        with urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - of this machine's own mesh
            return samples(text_string_to_metric_families(answer.read().decode()))
    except (URLError, OSError, ValueError):
        return None


def _shown(view: View) -> Group:
    methods = Table("process", "method", title="calls")
    for heading in ("per second", "failed", "p50 ms", "p99 ms"):
        methods.add_column(heading, justify="right", no_wrap=True)
    for each in view.methods[:_SHOWN]:
        methods.add_row(
            each.process,
            each.method.rpartition(".")[2] if each.method.startswith("/") else each.method,  # the latter: by HTTP
            f"{each.per_second:.1f}",
            f"{each.failed_per_second:.1f}" if each.failed_per_second else "",
            _number(each.p50_milliseconds),
            _number(each.p99_milliseconds),
        )
    if len(view.methods) > _SHOWN:
        methods.add_row("", f"and {len(view.methods) - _SHOWN} more")
    state = [f"under way at {door}: {count:.0f}" for door, count in view.doors.items()]
    state.append("revocations are heard" if view.revocations_heard else "[red]revocations are not heard[/]")
    state += [f"[red]{process} tells nothing[/]" for process in view.silent]
    tables = [_rates("clients at the gateway", view.client_types), _rates("refusals", view.refusals)]
    return Group(methods, *(table for table in tables if table.row_count), ", ".join(state))


def _rates(title: str, rates: Mapping[str, float]) -> Table:
    table = Table(title, "per second")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.1f}")
    return table


def _number(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.1f}"
