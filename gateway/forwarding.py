"""What of a call's metadata goes on to the backend."""

import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.errors import InvalidMetadata
from mesh.metadata import AUTHORIZATION
from mesh.request_id import KEY as REQUEST_ID

# What belongs to one hop only (the transport's own headers), and what only the gateway itself may say.
_DROPPED = re.compile(
    rf"{AUTHORIZATION}|{REQUEST_ID}|grpc-.*|user-agent|te|content-type|host|connection|forwarded|x-forwarded-.*|x-real-ip|x-sekisho-.*"
)


def forwarded_metadata(
    metadata: Iterable[tuple[str, str | bytes]], private_token: str | None
) -> list[tuple[str, str | bytes]]:
    """Return the metadata for the backend: the caller's, less what is dropped, and the private access token.

    Raises:
        InvalidMetadata: If a value is neither binary nor printable ASCII, which the backend's transport would refuse.

    """
    kept = [(key, value) for key, value in metadata if not _is_dropped(key)]
    for key, value in kept:
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):
            raise InvalidMetadata(f"the value of {key} is not printable ASCII", key=key)
    if private_token is not None:
        kept.append((AUTHORIZATION, f"Bearer {private_token}"))
    return kept


@lru_cache(maxsize=1024)  # callers send the same few keys; one who sends ever new ones gains nothing by it
def _is_dropped(key: str) -> bool:
    return _DROPPED.fullmatch(key) is not None
