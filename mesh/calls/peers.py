"""Who is at the other end of a connection, and where a call came from."""

import ipaddress
from functools import lru_cache
from urllib.parse import unquote

from mesh.calls.wrapping import Context

# How the gateway tells a service where a call came from.
FORWARDED_FOR = "x-forwarded-for"

_ADDRESS_LENGTH = 64
_FIRST_64_BITS = (2**64 - 1) << 64


def workload_of(context: Context) -> str | None:
    """Return the SPIFFE id of the caller's certificate, which TLS has verified; None if it showed none."""
    ids = context.auth_context().get("peer_spiffe_id", ())
    return next(iter(ids)).decode() if ids else None


def peer_of(context: Context) -> str:
    """Return the caller's SPIFFE id, or else its address."""
    return workload_of(context) or context.peer()


def address_of(context: Context) -> str:
    """Return the IP address that the gateway says a call came from; the peer's if it says none.

    Believe it only where none but the gateway may call.
    """
    for key, value in context.invocation_metadata() or ():
        if key == FORWARDED_FOR and isinstance(value, str):
            return value
    return _address(context.peer())


@lru_cache(maxsize=1024)  # a connection has many calls
def network_at(peer: str) -> str:
    """Return what stands for whoever is at the other end of a connection, as gRPC names it; see `network_of`."""
    return network_of(_address(peer))


def _address(peer: str) -> str:
    kind, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else peer


def network_of(address: str) -> str:
    """Return what stands for whoever has an IP address: of IPv6 its network of 64 bits, which one customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:_ADDRESS_LENGTH]
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) & _FIRST_64_BITS, 64)))
