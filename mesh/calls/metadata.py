"""Reads call metadata."""

from collections.abc import Iterable

AUTHORIZATION = "authorization"


def bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """Return the one bearer token (RFC 6750 §2.1); None if there is no, more than one, or a malformed header.

    The scheme's case does not matter (RFC 9110 §11.1), nor does how many spaces follow it (§11.4).
    """
    headers = [value for key, value in metadata if key == AUTHORIZATION]
    if len(headers) != 1 or not isinstance(headers[0], str):
        return None
    scheme, _, token = headers[0].partition(" ")
    token = token.lstrip(" ")
    return token if scheme.lower() == "bearer" and token and " " not in token else None
