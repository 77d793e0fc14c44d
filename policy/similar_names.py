"""Names that are mistyped."""

import difflib
from collections.abc import Iterable


def similar(name: str, known: Iterable[str], cutoff: float = 0.75) -> str | None:
    """Return the known name that somebody may have meant who wrote another; None if none is like it.

    Of two methods of one service, only the method's own name is compared: what they share makes all of them alike.

    Args:
        name: What was written.
        known: What could have been.
        cutoff: How like a name must be, from 0 to 1.

    """
    known = list(known)
    if name in known:
        return None
    head, slash, tail = name.rpartition("/")
    same = [each for each in known if slash and each.startswith(f"{head}/")]
    if same:
        tails = [each.rpartition("/")[2] for each in same]
        found = difflib.get_close_matches(tail, tails, n=1, cutoff=0.6)
        return f"{head}/{found[0]}" if found else None
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)


def advice(name: str, known: Iterable[str]) -> str:
    """Return what to say after an unknown name: what may have been meant, or nothing."""
    meant = similar(name, known)
    return f"; did you mean {meant}?" if meant else ""
