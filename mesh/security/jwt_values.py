"""Reads what a JWT may say in more than one way: its type, its audience, its times (RFC 7515, RFC 7519)."""

import math
from collections.abc import Mapping
from typing import Any


def media_type(header: Mapping[str, Any]) -> str:
    """Return the media type that a header's `typ` stands for; the empty text if there is none.

    Case does not matter, and a type without a slash is short for one with `application/` (RFC 7515 §4.1.9).
    """
    typ = str(header.get("typ", "")).lower()
    return typ if not typ or "/" in typ else f"application/{typ}"


def sole_audience(claims: Mapping[str, Any]) -> str | None:
    """Return the one audience of a JWT, be it a string or in an array (RFC 7519 §4.1.3); None if it is not one."""
    aud = claims.get("aud")
    if isinstance(aud, list) and len(aud) == 1:
        (aud,) = aud
    return aud if isinstance(aud, str) else None


def numeric_dates(claims: Mapping[str, Any]) -> dict[str, float]:
    """Return those of `iat`, `nbf` and `exp` that are there, in seconds since the epoch; a fraction is allowed.

    Raises:
        ValueError: If one is not a number, or not finite (RFC 7519 §2, NumericDate).

    """
    dates = {name: claims[name] for name in ("iat", "nbf", "exp") if name in claims}
    if not all(type(date) is int or (type(date) is float and math.isfinite(date)) for date in dates.values()):
        raise ValueError("a time claim is not a number")
    return dates
