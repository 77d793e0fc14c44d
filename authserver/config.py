"""The auth server's configuration."""

from pathlib import Path
from typing import Annotated

import msgspec

from mesh.config import Config, PositiveInt, PositiveSeconds, ServerConfig, ServiceConfig


class StatementIssuerConfig(Config, frozen=True):
    """Whose software statements count as an approval."""

    # The `iss` of its statements.
    iss: str
    # Its public keys, a JWK set (RFC 7517 §5).
    jwks: Path


class PepperConfig(Config, frozen=True):
    """A key of 256 bits that client secrets are digested with."""

    # Its number, kept with each digest.
    id: PositiveInt
    # The key.
    file: Path


class HttpConfig(Config, frozen=True):
    """Where and how the HTTP face listens."""

    # The address to listen on, `host:port`; port 0 takes a free one.
    listen: str
    # The certificate chain to show, PEM.
    certificate: Path
    # Its private key, PEM.
    private_key: Path
    # How clients reach it, `https://host` or `https://host:port`: the `issuer` in its metadata (RFC 8414 §3.3).
    public_url: Annotated[str, msgspec.Meta(pattern=r"^https://[A-Za-z0-9.\[\]:-]+$")]
    # The most connections at once; further requests are answered 503.
    max_connections: PositiveInt = 1000
    # How long a client may take to send a request.
    request_seconds: PositiveSeconds = 10.0

    @property
    def token_endpoint(self) -> str:
        """The URL of the token endpoint."""
        return f"{self.public_url}/oauth2/token"


class AuthServerConfig(ServiceConfig, frozen=True):
    """What the auth server needs to know."""

    # Where to listen.
    server: ServerConfig
    # The database, a SQLAlchemy URL.
    database: str
    # This server's name: `iss` of private access tokens, `aud` of software statements.
    issuer: str
    # The backends that private access tokens may be made for.
    audiences: frozenset[str]
    # The keys of 256 bits that signing and sealing keys lie encrypted under: the first one seals, all open.
    key_encryption_keys: Annotated[tuple[Path, ...], msgspec.Meta(min_length=1)]
    # What client secrets are digested with: the first one new ones, the others those that were not used since.
    peppers: Annotated[tuple[PepperConfig, ...], msgspec.Meta(min_length=1)]
    # The key of 256 bits that the audit log is chained with.
    audit_key: Path
    # Who may approve partners.
    statement_issuers: tuple[StatementIssuerConfig, ...]
    # The OAuth endpoints over HTTP. Absent: there are none, only those over gRPC.
    http: HttpConfig | None = None
    # The file that the audit log's signed heads are appended to, better on another machine's disk: one for each auth
    # server. Absent: none are, and nobody sees when the log's end is cut off.
    audit_heads: Path | None = None
    # How long a signing key is used before its successor takes its place.
    signing_key_days: PositiveInt = 90
    # How long a sealing key is used before its successor takes its place.
    sealing_key_days: PositiveInt = 30
    # How long before its use a key is announced; longer than verifiers keep keys (300 s).
    key_announce_seconds: PositiveInt = 600
    # Whether clients' assertions must name an issuer as `aud`, rather than the URL of the token endpoint (RFC 7523 §3).
    strict_assertion_audience: bool = False
    # How often client authentication may fail at once, for one client id and for one address, before it is throttled.
    failures_at_once: PositiveInt = 10
    # How long it takes until it may fail once more.
    failure_refill_seconds: PositiveSeconds = 6.0
    # How long access tokens live.
    access_token_ttl_seconds: PositiveInt = 600
    # How long private access tokens live, at most; never longer than the access token.
    private_token_ttl_seconds: PositiveInt = 300
    # The most clients kept in memory, about 1 KiB each. Tokens of these cost the database nothing.
    client_cache_entries: PositiveInt = 100_000

    def assertion_audiences(self) -> frozenset[str]:
        """Return what `aud` of a client's assertion may be."""
        if self.http is None:
            return frozenset({self.issuer})
        issuers = frozenset({self.issuer, self.http.public_url})
        return issuers if self.strict_assertion_audience else issuers | {self.http.token_endpoint}
