"""How hard to look: a little in `make test`, long in `make fuzz`."""

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings

# How long `make fuzz` is to look; 0 in `make test`.
MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
_ROUND = 10


def examples(few: int, many: int) -> int:
    """Return how many stories to try: few, or in each round of `make fuzz` many."""
    return many if MINUTES else few


def cases(few: int, seconds: float = 10.0) -> settings:
    """Try so many cases, in a round of `make fuzz` many more; each must be through in time."""
    return settings(
        max_examples=few * _ROUND if MINUTES else few,
        deadline=timedelta(seconds=seconds),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
    )
