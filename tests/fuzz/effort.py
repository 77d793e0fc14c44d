"""How hard to look: a little in `make test`, long in `make fuzz`."""

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings

# How long `make fuzz` is to look; 0 in `make test`.
MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
_ROUND = 10


def cases(few: int, seconds: float = 1.0) -> settings:
    """Try so many cases, in a round of `make fuzz` many more; each must be through in time."""
    return settings(
        max_examples=few * _ROUND if MINUTES else few,
        deadline=timedelta(seconds=seconds),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
    )
