"""Draws hops as a sequence diagram in text."""

from collections.abc import Iterable, Sequence

from cli.demo.hops import Hop

_LIFELINES = ("people", "shops", "gateway", "authserver", "payments")
_WIDTH = 12
_LINE = "│".center(_WIDTH)


def draw_sequence(hops: Sequence[Hop]) -> list[str]:
    """Return the diagram's lines: a lifeline for each service and one for all people, an arrow for each hop."""
    head = "".join(name.center(_WIDTH) for name in _LIFELINES)
    return [head.rstrip(), *map(_arrow, hops)]


def without_repeats(hops: Iterable[Hop]) -> Iterable[Hop]:
    """Leave out a hop that is like one before it, such as one more look at an application under review."""
    seen: set[tuple[str, ...]] = set()
    for hop in hops:
        key = (hop.caller, hop.service, hop.method, hop.client_type, hop.reason or hop.status)
        if key not in seen:
            seen.add(key)
            yield hop


def short(hop: Hop) -> str:
    """Return the method's name without its service."""
    return hop.method.rpartition("/")[2]


def _arrow(hop: Hop) -> str:
    start = _LIFELINES.index(hop.caller) if hop.caller in _LIFELINES else 0
    end = _LIFELINES.index(hop.service)
    cells = list(_LINE * len(_LIFELINES))
    left, right = (column * _WIDTH + _LINE.index("│") for column in sorted((start, end)))
    cells[left + 1 : right] = "─" * (right - left - 1)
    cells[right - 1 if end > start else left + 1] = "▶" if end > start else "◀"
    who = f"{hop.caller}: " if start == 0 else ""
    return f"{''.join(cells)} {who}{short(hop)} {hop.client_type}".rstrip()
