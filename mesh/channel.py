"""Channels to other services."""

import grpc

from mesh import tls
from mesh.config import ChannelConfig


def open_channel(
    config: ChannelConfig, *, keepalive_seconds: float = 30.0, keepalive_timeout_seconds: float = 10.0
) -> grpc.aio.Channel:
    """Open a TLS channel (mTLS if the configuration names a certificate). Connects on first use.

    Args:
        config: Where to, and how.
        keepalive_seconds: While there are calls: after how long a silence the other side is asked whether it is there.
            Servers of `mesh.server` take offence at more than two questions a second while they send nothing.
        keepalive_timeout_seconds: When the connection is given up without an answer to that.

    """
    options: list[tuple[str, str | int]] = [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.keepalive_time_ms", int(keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", int(keepalive_timeout_seconds * 1000)),
        # gRPC has pings of its own, and while one of them is out, waits for it instead: a minute, unless told.
        ("grpc.http2.ping_timeout_ms", int(keepalive_timeout_seconds * 1000)),
        # gRPC backs off up to two minutes; a service that restarts should be found again within seconds.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 2_000),  # other than its name says: how long an attempt to connect may take
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    if config.server_name:
        options.append(("grpc.ssl_target_name_override", config.server_name))
    return grpc.aio.secure_channel(config.target, tls.channel_credentials(config), options)
