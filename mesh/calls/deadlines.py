"""Reads how long a call may take."""

from mesh.calls.wrapping import Context

# Go sends 2562047 hours for "no limit", and 99999999 hours can be sent. Added to the present time, such times are more
# than gRPC can count, and what is to end then ends at once.
_FAR_SECONDS = 10 * 365 * 24 * 3600.0


def time_left(context: Context) -> float | None:
    """Return the seconds until a call's deadline; None if it has none, or one that nobody will live to see."""
    seconds = context.time_remaining()
    return None if seconds is None or seconds > _FAR_SECONDS else seconds
