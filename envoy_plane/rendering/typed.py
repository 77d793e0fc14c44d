"""Parts of Envoy's configuration that have a type, and its ways of writing things."""

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


def typed(kind: str, **fields: object) -> Json:
    """Return a message with its type, such as `envoy.config.route.v3.Route`."""
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def extension(name: str, kind: str, **fields: object) -> Json:
    """Return an extension, such as a filter, by its name, with its configuration."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def duration(seconds: float) -> str:
    """Return a time as protobuf's JSON has it."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def socket_address(listen: str) -> Json:
    """Return an address to listen on, from `host:port`."""
    host, _, port = listen.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
