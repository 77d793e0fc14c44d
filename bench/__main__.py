"""`python -m bench [NAME ...] [--json]` measures, and prints one table."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from bench import (
    auth_rows,
    gateway_memory_rows,
    gateway_reload_rows,
    gateway_rows,
    gateway_scale_rows,
    gateway_watched_rows,
    idle_rows,
    payments_rows,
    revocation_rows,
    story_rows,
)
from bench.measure import Row, Scale, say
from bench.table import as_json, table
from cli.local.signals import until_signal

_Measurement: TypeAlias = Callable[[Scale], Awaitable[list[Row]]]

MEASUREMENTS: dict[str, _Measurement] = {
    "gateway.unary": gateway_rows.unary,
    "gateway.large": gateway_rows.large,
    "gateway.latency": gateway_rows.latency,
    "gateway.stream": gateway_rows.stream,
    "gateway.observed": gateway_watched_rows.observed,
    "gateway.traced": gateway_watched_rows.traced,
    "gateway.rules": gateway_scale_rows.rules,
    "gateway.tokens": gateway_scale_rows.tokens,
    "gateway.reload": gateway_reload_rows.reload,
    "gateway.idle": gateway_memory_rows.idle_streams,
    "gateway.cache": gateway_memory_rows.many_tokens,
    "auth.token": auth_rows.token,
    "auth.token.http": auth_rows.token_by_http,
    "auth.exchange": auth_rows.exchange,
    "auth.many": auth_rows.many_clients,
    "auth.strangers": auth_rows.many_strangers,
    "auth.revocation": revocation_rows.revocation,
    "payments.capture.sqlite": payments_rows.sqlite,
    "payments.capture.postgresql": payments_rows.postgresql,
    "idle.sqlite": idle_rows.sqlite,
    "idle.postgresql": idle_rows.postgresql,
    "story": story_rows.story,
}


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures Sekisho beside a baseline, in interleaved pairs. Figures are medians (least-greatest).",
    )
    names = f"what to measure, by the beginning of its name; all if absent: {', '.join(MEASUREMENTS)}"
    parser.add_argument("names", metavar="NAME", nargs="*", help=names)
    parser.add_argument("--rounds", type=_positive, default=5, help="how many pairs (default: %(default)s)")
    parser.add_argument("--calls", type=_positive, default=800, help="calls in a sample, about (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    chosen = [name for name in MEASUREMENTS if not options.names or name.startswith(tuple(options.names))]
    if not all(any(name.startswith(wanted) for name in chosen) for wanted in options.names):
        parser.error(f"there is only {', '.join(MEASUREMENTS)}")
    scale = Scale(options.rounds, options.calls)
    rows = asyncio.run(until_signal(_measure(chosen, scale)))
    if rows is None:
        return 1
    print(as_json(rows, scale) if options.json else table(rows))  # noqa: T201 - this is what the command is for
    return 0


async def _measure(names: Sequence[str], scale: Scale) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        say(f"{name}: getting ready")
        rows += await MEASUREMENTS[name](scale)
    return rows


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
