"""Scopes: sets in code, space-delimited strings on the wire and at rest (RFC 6749 §3.3)."""

import re

from authserver.errors import InvalidScope

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
_LENGTH = 400  # so that a sealed access token stays under its limit


def parse_scope(scope: str) -> frozenset[str]:
    """Return the scopes of a space-delimited string.

    Raises:
        InvalidScope: If the string is empty, too long or malformed.

    """
    if len(scope) > _LENGTH or not _SCOPE.fullmatch(scope):
        raise InvalidScope(f"scope must be space-delimited words, together at most {_LENGTH} characters")
    return frozenset(scope.split(" "))


def format_scope(scopes: frozenset[str]) -> str:
    """Return scopes as a space-delimited string, sorted."""
    return " ".join(sorted(scopes))


def grant_scope(requested: str, ceiling: frozenset[str]) -> frozenset[str]:
    """Return the scopes that a request gets: those it names, or the whole ceiling if it names none.

    Raises:
        InvalidScope: If it names one beyond the ceiling, or is malformed.

    """
    if not requested:
        return ceiling
    scopes = parse_scope(requested)
    if beyond := scopes - ceiling:
        raise InvalidScope(f"may not be granted here: {format_scope(beyond)}")
    return scopes
