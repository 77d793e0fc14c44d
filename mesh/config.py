"""Configuration files: YAML, cast to frozen structs, checked at start-up."""

from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
import yaml

from mesh.errors import Mendable

# Counts, sizes and times that make no sense at or below zero.
PositiveInt: TypeAlias = Annotated[int, msgspec.Meta(gt=0)]
PositiveSeconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
PositiveRate: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]


class ConfigError(Mendable):
    """A configuration file that can't be used; the message says where and why."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a configuration file. Fields that it does not know are refused, so that typing errors show."""


class TracingConfig(Config, frozen=True):
    """Where traces go, and of how many calls."""

    # The collector, which speaks OTLP over gRPC: `http://host:4317`, or `https://host:4317` for TLS.
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^https?://[A-Za-z0-9.\[\]:-]+$")]
    # The share of calls that is recorded where the caller does not say, or has no say (at the gateway nobody has): 0.01
    # is one in a hundred.
    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    # The CA that the collector's certificate must come from, PEM. It goes with `https`.
    ca: Path | None = None
    # The certificate chain to show it, PEM. Absent: none.
    certificate: Path | None = None
    # Its private key, PEM.
    private_key: Path | None = None


class ServiceConfig(Config, frozen=True, kw_only=True):
    """What all services have in common."""

    # Where Prometheus reads metrics, `host:port`, by plain HTTP and without a password: an address that only it can
    # reach. Absent: nothing is counted.
    metrics_listen: str | None = None
    # Where traces go. Absent: there are none.
    tracing: TracingConfig | None = None


class ServerConfig(Config, frozen=True):
    """Where and how a service listens."""

    # The address to listen on, `host:port`; port 0 takes a free one.
    listen: str
    # The certificate chain to show, PEM.
    certificate: Path
    # Its private key, PEM.
    private_key: Path
    # The CA that callers' certificates must come from, PEM. Absent: callers need none (plain TLS).
    client_ca: Path | None = None
    # The largest message taken or sent.
    max_message_bytes: PositiveInt = 4 * 1024 * 1024
    # The metadata of a call, by HTTP/2's count: name, value and 32 bytes for each entry. gRPC refuses at random what is
    # larger, the larger the likelier, and all beyond twice as much.
    max_metadata_bytes: PositiveInt = 16 * 1024
    # The most calls at once; further ones are answered RESOURCE_EXHAUSTED.
    max_concurrent_calls: PositiveInt = 1000
    # The most connections at once, also those that have not got through TLS yet; further ones are closed at once.
    max_connections: PositiveInt = 2000
    # How long calls may go on after a stop was asked for.
    drain_seconds: PositiveSeconds = 10.0
    # How long, before that, the connections that are there are served as ever, while no new one is taken and health
    # checks hear of the stop. gRPC cancels calls that meet the stop on their way; there are none if clients have gone:
    # at once if they check health, else by the age of their connections, which then must be shorter than this.
    lame_duck_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    # How old a connection may become, give or take a tenth. The client is then asked to make a new one, by which it
    # finds new addresses and a renewed certificate; no call is lost.
    max_connection_age_seconds: PositiveSeconds = 300.0
    # How long calls, such as open streams, may go on by a connection that is too old. Longer than an access token is
    # good, so that streams end by that before.
    max_connection_age_grace_seconds: PositiveSeconds = 900.0
    # Whether other processes of the same user may listen on the address, too (SO_REUSEPORT), and share the connections.
    share_port: bool = False


class ChannelConfig(Config, frozen=True):
    """How to reach another service."""

    # A gRPC target, such as `dns:///payments.internal:7443`.
    target: str
    # The CA that the server's certificate must come from, PEM.
    ca: Path
    # The name in the server's certificate, where it is not the target's host.
    server_name: str | None = None
    # The certificate chain to show, PEM. Absent: none (plain TLS).
    certificate: Path | None = None
    # Its private key, PEM.
    private_key: Path | None = None
    # The largest message taken or sent.
    max_message_bytes: PositiveInt = 4 * 1024 * 1024
    # The metadata that an answer may bring, status and its details included, by HTTP/2's count.
    max_metadata_bytes: PositiveInt = 64 * 1024


C = TypeVar("C", bound=Config)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice. YAML would silently take the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - what the types say is wrong
        node = super().compose_mapping_node(anchor)
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        return node


def load(path: Path, kind: type[C]) -> C:
    """Read a configuration file. Paths in it are relative to the folder it lies in.

    Raises:
        ConfigError: If the file can't be read, is not YAML, has a key twice, or does not fit `kind`.

    """

    def decode(target: type, value: Any) -> Any:  # noqa: ANN401 - the shape that msgspec asks for
        if target is Path and isinstance(value, str):
            return path.parent / value
        raise ValueError(f"can't read {value!r} as {target.__name__}")

    try:
        content = yaml.load(path.read_text(), _Loader)  # noqa: S506 - a safe one
        return msgspec.convert(content, kind, dec_hook=decode)
    except (OSError, yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error  # YAML's are of several lines
