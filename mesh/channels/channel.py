"""Channels to other services."""

import grpc

from mesh.config import ChannelConfig
from mesh.security import tls


def open_channel(
    config: ChannelConfig,
    *,
    service_config: str = "{}",
    keepalive_seconds: float = 30.0,
    keepalive_timeout_seconds: float = 10.0,
    keepalive_without_calls: bool = False,
) -> grpc.aio.Channel:
    """Open a TLS channel (mTLS if the configuration names a certificate). Connects on first use.

    Args:
        config: Where to, and how.
        service_config: Which address calls go to, and when they are tried again: JSON (`mesh.channels.service_config`).
        keepalive_seconds: After how long a silence the other side is asked whether it is there. Servers end connections
            by which they are asked too often while they send nothing: those of `mesh.serving.server` take two questions
            a second, others by default one in 300 s.
        keepalive_timeout_seconds: When the connection is given up without an answer to that. Data that the other side
            does not acknowledge by then ends the connection, too.
        keepalive_without_calls: Whether it is asked also while there is no call.

    """
    options: list[tuple[str, str | int]] = [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        # One limit, up to which all passes: gRPC refuses at random what is between two.
        ("grpc.max_metadata_size", config.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", config.max_metadata_bytes),
        # A stream whose reader is slow may hold this side's 64 KiB; gRPC would let it grow to megabytes.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", int(keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", int(keepalive_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", int(keepalive_without_calls)),
        # However silent both sides are, it is asked; gRPC would do so twice, and then once a minute.
        ("grpc.http2.max_pings_without_data", 0),
        # gRPC has pings of its own, and while one of them is out, waits for it instead: a minute, unless told.
        ("grpc.http2.ping_timeout_ms", int(keepalive_timeout_seconds * 1000)),
        # gRPC backs off up to two minutes; a service that restarts should be found again within seconds.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 2_000),  # other than its name says: how long an attempt to connect may take
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # A name is asked for its addresses again when a connection ends, but not more often than this; gRPC's own 30 s
        # would leave a backend that has moved unfound for as long.
        ("grpc.dns_min_time_between_resolutions_ms", 5_000),
        ("grpc.service_config", service_config),
        # Never from DNS: who may be called twice is said by contracts.
        ("grpc.service_config_disable_resolution", 1),
        # What a call may be tried again with is kept until there is an answer: per call, no more than this.
        ("grpc.per_rpc_retry_buffer_size", 64 * 1024),
    ]
    if config.server_name:
        options.append(("grpc.ssl_target_name_override", config.server_name))
    return grpc.aio.secure_channel(config.target, tls.channel_credentials(config), options)
