"""What of a call's metadata goes on to the backend."""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from urllib.parse import unquote

from gateway.errors import InvalidMetadata
from mesh.calls.metadata import AUTHORIZATION
from mesh.calls.request_id import KEY as REQUEST_ID

_USER_AGENT = "user-agent"
# Where the caller is, and with what.
_CALLERS_ADDRESS = "x-forwarded-for"
_CALLERS_AGENT = "x-forwarded-user-agent"
# What HTTP says between two neighbours (RFC 9110 §7.6.1), and of the form of a message. The next hop's transport says
# it anew; servers refuse calls with some of these.
_HOP_BY_HOP = (
    r"connection|proxy-.*|keep-alive|te|trailer|transfer-encoding|upgrade|expect|content-length|content-type|host"
    r"|http2-settings"
)
_OF_ONE_HOP = re.compile(_HOP_BY_HOP)
# That, and what only the gateway itself may say.
_DROPPED = re.compile(
    rf"{_HOP_BY_HOP}|{AUTHORIZATION}|{REQUEST_ID}|traceparent|tracestate|baggage|grpc-.*|{_USER_AGENT}"
    r"|forwarded|x-forwarded-.*|x-real-ip|x-sekisho-.*"
)
_CONNECTION = "connection"


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
    named = _named_by_connection(metadata)
    for key, value in metadata:
        if not (_is_dropped(key) or key in named):
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


def returned_metadata(metadata: Sequence[tuple[str, str | bytes]]) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata for the caller: the backend's, less what belongs to one hop."""
    if not metadata:
        return ()
    named = _named_by_connection(metadata)
    return tuple(pair for pair in metadata if not (_is_of_one_hop(pair[0]) or pair[0] in named))


def _named_by_connection(metadata: Iterable[tuple[str, str | bytes]]) -> Collection[str]:
    """Return the names that `connection` declares to be for one hop, too."""
    return {
        name.strip().lower()
        for key, value in metadata
        if key == _CONNECTION and isinstance(value, str)
        for name in value.split(",")
    }


def _is_printable_ascii(value: str) -> bool:
    return value.isascii() and value.isprintable()


@lru_cache(maxsize=1024)  # callers send the same few keys; one who sends ever new ones gains nothing by it
def _is_dropped(key: str) -> bool:
    return _DROPPED.fullmatch(key) is not None


@lru_cache(maxsize=1024)
def _is_of_one_hop(key: str) -> bool:
    return _OF_ONE_HOP.fullmatch(key) is not None


@lru_cache(maxsize=1024)  # a connection has many calls
def _address(peer: str) -> str:
    """Return the IP address of a peer; nothing of one that has none, such as a Unix socket."""
    kind, _, rest = peer.partition(":")
    return unquote(rest).rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else ""
