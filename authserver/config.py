"""The auth server's configuration."""

from pathlib import Path

from mesh.config import Config, PositiveInt, ServerConfig


class StatementIssuerConfig(Config, frozen=True):
    """Whose software statements count as an approval."""

    # The `iss` of its statements.
    iss: str
    # Its public keys, a JWK set (RFC 7517 §5).
    jwks: Path


class AuthServerConfig(Config, frozen=True):
    """What the auth server needs to know."""

    # Where to listen.
    server: ServerConfig
    # The database, a SQLAlchemy URL.
    database: str
    # This server's name: `iss` of private access tokens, `aud` of software statements.
    issuer: str
    # The backends that private access tokens may be made for.
    audiences: frozenset[str]
    # The key of 256 bits that signing and sealing keys lie encrypted under.
    key_encryption_key: Path
    # The key of 256 bits that client secrets are digested with.
    pepper: Path
    # Who may approve partners.
    statement_issuers: tuple[StatementIssuerConfig, ...]
    # How long access tokens live.
    access_token_ttl_seconds: PositiveInt = 600
    # How long private access tokens live, at most; never longer than the access token.
    private_token_ttl_seconds: PositiveInt = 300
