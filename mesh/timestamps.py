"""Times: seconds in code, whole milliseconds in databases, `google.protobuf.Timestamp` on the wire."""

from google.protobuf.timestamp_pb2 import Timestamp


def to_ms(seconds: float) -> int:
    """Return whole milliseconds since the epoch."""
    return round(seconds * 1000)


def timestamp(milliseconds: int | None) -> Timestamp | None:
    """Return the message for a time in milliseconds; None stays None (the field is absent)."""
    if milliseconds is None:
        return None
    message = Timestamp()
    message.FromMilliseconds(milliseconds)
    return message
