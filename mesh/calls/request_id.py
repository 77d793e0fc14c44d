"""The id that joins the log lines of one call across services."""

import random
import re
from contextvars import ContextVar

KEY = "x-request-id"

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def adopt(presented: str | None) -> str:
    """Make the presented id the current one, or a new one if there is none or it is malformed; return it."""
    request_id = presented if presented and _WELL_FORMED.fullmatch(presented) else _new()
    _current.set(request_id)
    return request_id


def current() -> str:
    """Return the current id; an empty one outside of calls."""
    return _current.get()


def _new() -> str:
    return f"{random.getrandbits(64):016x}"  # joins log lines, and guards nothing: no need of the system's randomness


def outgoing() -> tuple[tuple[str, str], ...]:
    """Return the metadata that hands the current id on to the next service."""
    request_id = current()
    return ((KEY, request_id),) if request_id else ()
