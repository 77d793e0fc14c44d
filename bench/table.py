"""Shows rows: as a table to people, as one object to programs."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict

from bench.measure import Row, Scale, Spread

_TITLES = ("", "unit", "Sekisho", "baseline", "ratio")


def table(rows: Sequence[Row]) -> str:
    """Return the table, each figure as `median (least-greatest)`."""
    cells = [_TITLES, *((row.name, row.unit, *map(_text, (row.value, row.baseline, row.ratio))) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_json(rows: Sequence[Row], scale: Scale) -> str:
    """Return rows, and what they were measured with, as one JSON object."""
    where = {"python": platform.python_version(), "cpus": os.cpu_count()}
    return json.dumps({**where, **asdict(scale), "rows": [asdict(row) for row in rows]})


def _text(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{_number(spread.median)} ({_number(spread.low)}-{_number(spread.high)})"


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"  # noqa: PLR2004 - three digits say enough
