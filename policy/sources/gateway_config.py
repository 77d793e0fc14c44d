"""The gateway's configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from mesh.access.rules import ClientType
from mesh.config import ChannelConfig, Config, PositiveInt, PositiveRate, PositiveSeconds, ServerConfig, ServiceConfig

# What health checks ask for to learn whether revocations arrive.
REVOCATIONS = "sekisho.gateway.Revocations"
# And whether the file of restrictions, if there is one, is in force as it is.
RESTRICTIONS = "sekisho.gateway.Restrictions"


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
    # How to reach it. Calls go round among the addresses of the target.
    channel: ChannelConfig
    # The full names of the services that it serves.
    services: tuple[str, ...]
    # Where services are declared that Sekisho does not know: files that `buf build -o` or `protoc --include_imports
    # --descriptor_set_out` wrote.
    descriptor_sets: tuple[Path, ...] = ()
    # Whether each address is asked how it is (grpc.health.v1), and left out while it does not serve. One that does not
    # know the question counts as healthy; one that wants a token for the answer needs `false`.
    health_checked: bool = True
    # After how long a silence a connection with open calls is checked by a ping, and so how late a machine that died
    # is noticed by a stream that waits for it. A server ends connections that ping more often than it permits: by
    # default those of gRPC in Go, Java, C++ and Python permit one ping in 300 s.
    keepalive_seconds: Annotated[float, msgspec.Meta(ge=1)] = 360.0


class RateConfig(Config, frozen=True):
    """How often something may be done."""

    # How many calls a second are allowed without end.
    per_second: PositiveRate
    # How often at once, after a pause.
    burst: PositiveInt


class LimitsConfig(Config, frozen=True):
    """How much callers may do; what is more is answered RESOURCE_EXHAUSTED. Each gateway process counts for itself."""

    # Calls from one address, whatever becomes of them; of IPv6, a network of 64 bits counts as one address. All clients
    # of a platform may have one address.
    address: RateConfig = RateConfig(per_second=1_000, burst=2_000)
    # Calls of one client that its token lets pass.
    client: RateConfig = RateConfig(per_second=500, burst=1_000)
    # Calls of one method by all clients of a type together, where a backend needs it, such as
    # `/example.v1.Reports/MakeReport: {PARTNER: {per_second: 5, burst: 20}}`.
    methods: Mapping[str, Mapping[ClientType, RateConfig]] = {}
    # Calls of one client at once, of methods without streams.
    max_client_calls: PositiveInt = 200
    # Streams of one client at once.
    max_client_streams: PositiveInt = 100
    # From one address at once, of each kind that no client answers for: health and reflection, public methods, and
    # calls whose token is being checked. All addresses together have a quarter of a door's calls for each kind.
    max_address_calls: PositiveInt = 100
    # The most addresses and the most clients remembered, about 250 bytes each. Those that have not called for longest
    # are forgotten first, as if they never had.
    remembered: PositiveInt = 50_000


class EnvoyConfig(Config, frozen=True):
    """What Envoy and the checkpoint need to know where Envoy carries the calls."""

    # Where the checkpoint listens, for Envoy alone: by mTLS.
    server: ServerConfig
    # How Envoy reaches the checkpoint. Questions go round among the addresses of the target.
    checkpoint: ChannelConfig
    # The workloads that may ask the checkpoint: what Envoy's certificate for it says.
    workloads: tuple[str, ...] = ("gateway",)
    # Where Envoy tells metrics, and can be stopped: an address of this machine alone.
    admin_listen: str = "127.0.0.1:9901"
    # The most decisions that each of Envoy's workers keeps, about 2 KiB each: as long as it hears what is revoked, it
    # does not ask again. 0: it asks about each call.
    kept_decisions: Annotated[int, msgspec.Meta(ge=0)] = 50_000


class GatewayConfig(ServiceConfig, frozen=True):
    """What the gateway needs to know."""

    # The doors.
    listeners: tuple[ListenerConfig, ...]
    # The auth server, for exchanges.
    auth: ChannelConfig
    # What lies behind the gateway.
    backends: tuple[BackendConfig, ...]
    # Rules for methods of the backends' descriptor sets that carry none. Absent: those stay closed.
    grants: Path | None = None
    # What is taken away for now from what contracts and grants allow; followed as it changes.
    restrictions: Path | None = None
    # The most exchanges kept. One is kept for each access token and backend, about 2 KiB each.
    exchange_cache_entries: PositiveInt = 50_000
    # How long exchanges are believed in without word from the auth server, which sends one every half second: a
    # revocation is in force after this at the latest.
    revocation_grace_seconds: PositiveSeconds = 30.0
    # The longest that a unary call may take, also when the caller would wait longer.
    call_timeout_seconds: PositiveSeconds = 60.0
    # How much callers may do.
    limits: LimitsConfig = LimitsConfig()
    # Where Envoy carries the calls, and asks about them. Absent: the gateway carries them itself.
    envoy: EnvoyConfig | None = None
