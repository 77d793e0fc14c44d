"""Token buckets, one for each key, in bounded memory."""

import math
from collections import OrderedDict
from collections.abc import Hashable

_MICRO = 1_000_000


class Throttle:
    """Lets each key do something so many times at once, and then again at a steady rate.

    Of a bucket, only the time is kept at which it will be full again (as in the generic cell rate algorithm, ITU-T
    I.371), in whole microseconds, so that no rounding adds up.

    Args:
        burst: How many times at once.
        refill_seconds: How long it takes until once more.
        capacity: The most keys remembered. The least recently used are forgotten, as if their buckets were full.

    """

    def __init__(self, burst: int, refill_seconds: float, capacity: int) -> None:
        self._refill = max(1, round(refill_seconds * _MICRO))
        self._size = burst * self._refill
        self._capacity = capacity
        self._full_at: OrderedDict[Hashable, int] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._full_at)

    def take(self, key: Hashable, now: float) -> float:
        """Take one from a key's bucket; return 0, or if there is none, in how many seconds there will be.

        Args:
            key: Whose bucket.
            now: The time in seconds, by a clock that does not go back.

        """
        now_micro = math.floor(now * _MICRO)
        full_at = max(self._full_at.pop(key, now_micro), now_micro)
        wait = max(0, full_at + self._refill - self._size - now_micro)
        if not wait:
            full_at += self._refill
        self._full_at[key] = full_at  # at the end: the most recently used
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return wait / _MICRO
