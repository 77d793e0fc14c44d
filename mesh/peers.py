"""Who is at the other end of a connection."""

from mesh.interceptors.wrapping import Context


def workload_of(context: Context) -> str | None:
    """Return the SPIFFE id of the caller's certificate, which TLS has verified; None if it showed none."""
    ids = context.auth_context().get("peer_spiffe_id", ())
    return next(iter(ids)).decode() if ids else None


def peer_of(context: Context) -> str:
    """Return the caller's SPIFFE id, or else its address."""
    return workload_of(context) or context.peer()
