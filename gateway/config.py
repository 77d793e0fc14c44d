"""The gateway's configuration."""

from mesh.access.rules import ClientType
from mesh.config import ChannelConfig, Config, PositiveInt, PositiveSeconds, ServerConfig


class ListenerConfig(Config, frozen=True):
    """A door: an address, and who may come in by it."""

    # What the log calls it.
    name: str
    # Where to listen. Callers are outsiders: without a `client_ca`, they need no certificate.
    server: ServerConfig
    # The client types that are let in. A method that is for none of them can't be reached by this door.
    client_types: frozenset[ClientType]


class BackendConfig(Config, frozen=True):
    """Services behind the gateway, at one target."""

    # What the auth server knows it by: the audience of private access tokens.
    name: str
    # How to reach it.
    channel: ChannelConfig
    # The full names of the services that it serves.
    services: tuple[str, ...]


class GatewayConfig(Config, frozen=True):
    """What the gateway needs to know."""

    # The doors.
    listeners: tuple[ListenerConfig, ...]
    # The auth server, for exchanges.
    auth: ChannelConfig
    # What lies behind the gateway.
    backends: tuple[BackendConfig, ...]
    # The most exchanges kept. One is kept for each access token and backend, about 2 KiB each.
    exchange_cache_entries: PositiveInt = 50_000
    # How long exchanges are believed in without word from the auth server, which sends one every half second: a
    # revocation is in force after this at the latest.
    revocation_grace_seconds: PositiveSeconds = 30.0
    # The longest that a unary call may take, also when the caller would wait longer.
    call_timeout_seconds: PositiveSeconds = 60.0
