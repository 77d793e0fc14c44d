"""Channels to other services."""

import grpc

from mesh import tls
from mesh.config import ChannelConfig


def open_channel(config: ChannelConfig) -> grpc.aio.Channel:
    """Open a TLS channel (mTLS if the configuration names a certificate). Connects on first use."""
    options: list[tuple[str, str | int]] = [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # gRPC backs off up to two minutes; a service that restarts should be found again within seconds.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    if config.server_name:
        options.append(("grpc.ssl_target_name_override", config.server_name))
    return grpc.aio.secure_channel(config.target, tls.channel_credentials(config), options)
