"""What of a call's metadata goes on to the backend."""

import re
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import unquote

from gateway.errors import InvalidMetadata
from mesh.calls.metadata import AUTHORIZATION
from mesh.calls.request_id import KEY as REQUEST_ID

_USER_AGENT = "user-agent"
# Where the caller is, and with what.
_CALLERS_ADDRESS = "x-forwarded-for"
_CALLERS_AGENT = "x-forwarded-user-agent"
# What belongs to one hop only (the transport's own headers), and what only the gateway itself may say.
_DROPPED = re.compile(
    rf"{AUTHORIZATION}|{REQUEST_ID}|traceparent|tracestate|baggage|grpc-.*|{_USER_AGENT}|te|content-type|host|connection"
    r"|forwarded|x-forwarded-.*|x-real-ip|x-sekisho-.*"
)


def forwarded_metadata(
    metadata: Collection[tuple[str, str | bytes]], private_token: str | None, peer: str
) -> list[tuple[str, str | bytes]]:
    """Return the metadata for the backend: the caller's, less what is dropped, the private access token, who called.

    What the caller's own transport says of itself goes on under another name: the next hop's transport does so, too.

    Args:
        metadata: What the caller sent.
        private_token: What the backend is to see in place of the caller's token; None if the method is public.
        peer: The caller, as gRPC names it: `ipv4:203.0.113.7:50123`, `ipv6:%5B2001:db8::7%5D:50123`.

    Raises:
        InvalidMetadata: If a value is neither binary nor printable ASCII, which the backend's transport would refuse.

    """
    kept = list[tuple[str, str | bytes]]()
    for key, value in metadata:
        if not _is_dropped(key):
            if isinstance(value, str) and not _is_printable_ascii(value):
                raise InvalidMetadata(f"the value of {key} is not printable ASCII", key=key)
            kept.append((key, value))
        elif key == _USER_AGENT and isinstance(value, str) and _is_printable_ascii(value):
            kept.append((_CALLERS_AGENT, value))
    if private_token is not None:
        kept.append((AUTHORIZATION, f"Bearer {private_token}"))
    if address := _address(peer):
        kept.append((_CALLERS_ADDRESS, address))
    return kept


def _is_printable_ascii(value: str) -> bool:
    return value.isascii() and value.isprintable()


@lru_cache(maxsize=1024)  # callers send the same few keys; one who sends ever new ones gains nothing by it
def _is_dropped(key: str) -> bool:
    return _DROPPED.fullmatch(key) is not None


@lru_cache(maxsize=1024)  # a connection has many calls
def _address(peer: str) -> str:
    """Return the IP address of a peer; nothing of one that has none, such as a Unix socket."""
    kind, _, rest = peer.partition(":")
    return unquote(rest).rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else ""
