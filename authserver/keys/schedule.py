"""When the auth server's own keys are announced, used, retired and destroyed.

A key is announced before it is used, so that whoever verifies or opens knows it by then; and it is kept after its
successor has taken its place, until the last of its tokens has expired. All times are in milliseconds since the epoch.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

# How long a retired key is kept before its material is destroyed: enough to see what happened.
_KEEP_MS = 24 * 3600 * 1000


class Use(enum.StrEnum):
    """What keys are for."""

    SIGNING = "signing"  # signs private access tokens
    SEALING = "sealing"  # seals access tokens


class KeyState(enum.StrEnum):
    """Where a key is in its life."""

    ANNOUNCED = "announced"  # verifies and opens, but is not used yet
    ACTIVE = "active"  # signs or seals
    RETIRING = "retiring"  # has a successor; still verifies and opens
    RETIRED = "retired"  # good for nothing


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """The times of a key.

    Attributes:
        key_id: Its id.
        activate_time: From when on it is used.
        retire_time: From when on it is good for nothing; None if it has no successor yet.

    """

    key_id: int
    activate_time: int
    retire_time: int | None = None

    def is_live(self, now_ms: int) -> bool:
        """Return whether it is not retired."""
        return self.retire_time is None or now_ms < self.retire_time

    def is_announced(self, now_ms: int) -> bool:
        """Return whether it is known, and not used yet."""
        return self.is_live(now_ms) and now_ms < self.activate_time


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the keys of one use follow each other.

    Attributes:
        period_ms: How long a key is used before its successor takes its place.
        announce_ms: How long before its use it is announced.
        overlap_ms: How long after that the predecessor's tokens may be good.

    """

    period_ms: int
    announce_ms: int
    overlap_ms: int


def active_key(keys: Sequence[KeyTimes], now_ms: int) -> KeyTimes | None:
    """Return the key of one use that signs or seals; None if there is none."""
    live = [key for key in keys if key.is_live(now_ms)]
    used = [key for key in live if not key.is_announced(now_ms)]
    if used:
        return max(used, key=_order)
    # This clock is behind that of whoever retired the last one, and saw its successor in use.
    return min(live, key=_order, default=None)


def state_of(key: KeyTimes, keys: Sequence[KeyTimes], now_ms: int) -> KeyState:
    """Return where a key is in its life, among all keys of its use."""
    if not key.is_live(now_ms):
        return KeyState.RETIRED
    if key == active_key(keys, now_ms):
        return KeyState.ACTIVE
    return KeyState.ANNOUNCED if key.is_announced(now_ms) else KeyState.RETIRING


def due_activation(keys: Sequence[KeyTimes], pace: Pace, now_ms: int) -> int | None:
    """Return the time from which a new key will be used, if it is time to make one; None if it is not.

    The first key is used at once.
    """
    newest = newest_live(keys, now_ms)
    if newest is None:
        return now_ms
    if now_ms < newest.activate_time + pace.period_ms - pace.announce_ms:
        return None
    return max(newest.activate_time + pace.period_ms, now_ms + pace.announce_ms)


def succeeded(keys: Sequence[KeyTimes], activation: int, pace: Pace, now_ms: int) -> list[KeyTimes]:
    """Return the keys of one use whose retirement a successor settles, with their new times."""
    retire_time = activation + pace.overlap_ms
    return [
        replace(key, retire_time=retire_time)
        for key in keys
        if key.is_live(now_ms)
        and key.activate_time <= activation
        and (key.retire_time is None or key.retire_time > retire_time)
    ]


def retired(keys: Sequence[KeyTimes], key: KeyTimes, now_ms: int) -> list[KeyTimes]:
    """Return what changes when a key that is not in use is retired at once: its own times, and those of its heir.

    If it was to succeed another one, that goes on.
    """
    rest = [each for each in keys if each.key_id != key.key_id]
    changed = [replace(key, retire_time=now_ms)]
    newest = newest_live(rest, now_ms)
    if newest is not None and newest.retire_time is not None:
        changed.append(replace(newest, retire_time=None))
    return changed


def newest_live(keys: Sequence[KeyTimes], now_ms: int) -> KeyTimes | None:
    """Return the key that is used last of those that are not retired; None if all are."""
    return max((key for key in keys if key.is_live(now_ms)), key=_order, default=None)


def is_to_be_destroyed(key: KeyTimes, now_ms: int) -> bool:
    """Return whether a key has been retired for so long that its material is to go."""
    return key.retire_time is not None and key.retire_time + _KEEP_MS <= now_ms


def _order(key: KeyTimes) -> tuple[int, int]:
    return key.activate_time, key.key_id
