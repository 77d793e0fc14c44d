"""`sekisho demo`."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.demo.cast import StoryFailed, Stubs
from cli.demo.hops import Hop
from cli.demo.sequence import draw_sequence, short, without_repeats
from cli.demo.story import Step, Story
from cli.home import DEFAULT_HOME, Home, MeshAddresses
from cli.local.configurations import MeshOptions, Plane
from cli.local.signals import until_signal
from cli.local.supervisor import ServiceDied
from cli.local.up import PlaneOption, mesh_up
from cli.output import JsonOption, console, print_json
from cli.wire import public_channel


def demo(
    home: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the mesh to use. If none is up there, one is started. "
            "If absent: the mesh in .sekisho if it is up, else one in a temporary folder.",
            envvar="SEKISHO_HOME",
        ),
    ] = None,
    plane: PlaneOption = Plane.GATEWAY,
    *,
    as_json: JsonOption = False,
) -> None:
    """Tell the whole story once, on real processes: a shop opens, an order is paid and another refunded.

    Shows every call between services, and then what is refused. Ends with status 0 only if all came out so.

    Examples:
    sekisho demo --json | tail -n 1;
    sekisho demo --plane envoy

    """
    told = asyncio.run(until_signal(_tell(home, plane, _JsonTeller() if as_json else _TextTeller())))
    raise typer.Exit(0 if told else 1)


async def _tell(home: Path | None, plane: Plane, teller: "_TextTeller | _JsonTeller") -> bool:
    start = time.perf_counter()
    steps: list[Step] = []
    failure = ""
    try:
        async with _mesh(home, plane) as (at, addresses), AsyncExitStack() as stack:
            teller.begin(at)
            gateway = await stack.enter_async_context(public_channel(addresses.gateway, addresses.ca))
            shops = await stack.enter_async_context(public_channel(addresses.shops, addresses.ca))
            async for step in Story(at, addresses, Stubs(gateway, shops)).tell():
                steps.append(step)
                teller.tell(len(steps), step)
    except (StoryFailed, ServiceDied) as error:
        failure = str(error)
    teller.end(steps, failure, round(time.perf_counter() - start, 1))
    return not failure


@asynccontextmanager
async def _mesh(home: Path | None, plane: Plane) -> AsyncIterator[tuple[Home, MeshAddresses]]:
    """Use the mesh that is up, or start one and stop it afterwards."""
    chosen = Home.at(home or DEFAULT_HOME)
    if chosen.is_up():
        yield chosen, chosen.read_addresses()
        return
    with tempfile.TemporaryDirectory(prefix="sekisho-") as temporary:
        at = chosen if home else Home.at(Path(temporary))
        async with mesh_up(at, 0, MeshOptions(plane=plane)) as (addresses, _):
            yield at, addresses


class _JsonTeller:
    """Tells the story as JSON lines."""

    def begin(self, home: Home) -> None:
        """Say where the mesh is."""
        print_json({"home": str(home.path)})

    def tell(self, number: int, step: Step) -> None:
        """Tell one step."""
        print_json({"step": number, **asdict(step)})

    def end(self, steps: list[Step], failure: str, seconds: float) -> None:
        """Sum up."""
        calls = sum(len(step.hops) for step in steps)
        summary = {"ok": not failure, "steps": len(steps), "calls": calls, "seconds": seconds}
        print_json({**summary, "error": failure} if failure else summary)


class _TextTeller:
    """Tells the story to people."""

    def __init__(self) -> None:
        console.print("[dim]starting authserver, payments, gateway and shops …[/]")

    def begin(self, home: Home) -> None:
        """Say where the mesh is."""
        console.print(f"[dim]the mesh is up in {escape(str(home.path))}[/]", soft_wrap=True)

    def tell(self, number: int, step: Step) -> None:
        """Tell one step: what happened, hop by hop."""
        console.print(f"\n[bold cyan]{number}. {step.title}[/]")
        for fact, value in step.facts.items():
            console.print(f"   [dim]{fact}[/] {value}", soft_wrap=True)
        if step.rows:
            console.print(_table(step.rows))
        else:
            console.print(_hops(step.hops))

    def end(self, steps: list[Step], failure: str, seconds: float) -> None:
        """Draw the sequence, and sum up."""
        if failure:
            console.print(f"\n[bold red]The story went wrong:[/] {escape(failure)}", soft_wrap=True)
            return
        console.print("\n[bold]The sequence[/]\n")
        hops = [hop for step in steps if not step.rows for hop in without_repeats(step.hops)]
        for line in draw_sequence(hops):
            console.print(line, soft_wrap=True, markup=False)
        console.print(f"\n[bold green]All {len(steps)} steps came out as the story says[/], in {seconds} s.")


def _table(rows: list[dict[str, str]]) -> Table:
    table = Table(*rows[0], pad_edge=False)
    for row in rows:
        table.add_row(*row.values())
    return table


def _hops(hops: list[Hop]) -> Table:
    table = Table("who", "calls", "method", "as", "answer", "ms", box=None, padding=(0, 1, 0, 3))
    for hop in without_repeats(hops):
        colour = "green" if hop.status == "OK" else "red"
        answer = f"[{colour}]{hop.reason or hop.status}[/]"
        table.add_row(hop.caller, hop.service, short(hop), hop.client_type, answer, f"{hop.milliseconds:.1f}")
    return table
