"""What captured payments cost in payments, beside the same statements driven bare.

The statements are recorded on one copy of a database. Then payments and the bare driver work in turn, each on a copy of
its own, so both meet the same rows.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from bench.bare_databases import BarePostgreSQL, BareSQLite
from bench.captured_payments import CONCURRENCY, capture_all, record, seed
from bench.measure import Cost, Row, Scale, compare, cost_of, measure_pairs, say
from bench.postgresql import Create, postgresql_server
from mesh.storage.database import Database

_Bare: TypeAlias = BareSQLite | BarePostgreSQL


async def sqlite(scale: Scale) -> list[Row]:
    """Measure on SQLite."""
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder:

        def create(name: str, template: str | None) -> str:
            file = Path(folder) / name
            if template is not None:
                shutil.copyfile(Path(folder) / template, file)
            return f"sqlite:///{file}"

        return await _measure("payments.capture.sqlite", create, BareSQLite, scale)


async def postgresql(scale: Scale) -> list[Row]:
    """Measure on PostgreSQL. What its own processes take is in the seconds, not in the CPU time."""
    with tempfile.TemporaryDirectory(prefix="sekisho-bench-") as folder, postgresql_server(Path(folder)) as create:
        return await _measure("payments.capture.postgresql", create, BarePostgreSQL, scale)


async def _measure(name: str, create: Create, bare: Callable[[str], _Bare], scale: Scale) -> list[Row]:
    count = max(CONCURRENCY, scale.calls // 2 // CONCURRENCY * CONCURRENCY)
    asked = await seed(create("seed", None), count * (scale.rounds + 1))
    say(f"{name}: recording the statements of {len(asked)} payments")
    units = await record(create("recorded", "seed"), asked)
    with (
        closing(Database(create("subject", "seed"))) as database,
        closing(bare(create("baseline", "seed"))) as driver,
    ):

        async def subject(number: int) -> Cost:
            return await cost_of(os.getpid(), count, capture_all(database, asked[number * count :][:count]))

        async def replay(number: int) -> None:
            driver.replay(units[number * count :][:count])

        async def baseline(number: int) -> Cost:
            return await cost_of(os.getpid(), count, replay(number))

        pairs = await measure_pairs(name, scale.rounds, subject, baseline)
    return [
        compare(name, "payments/s", pairs, lambda cost: cost.per_second),
        compare(name, "CPU µs/payment", pairs, lambda cost: cost.cpu_microseconds),
    ]
