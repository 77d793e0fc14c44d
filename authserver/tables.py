"""The tables."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

NAME_LENGTH = 200
MAX_CLIENTS = 10_000  # of a platform, unless it was given another number

METADATA = MetaData()

platforms = Table(
    "platforms",
    METADATA,
    Column("platform_id", String(64), primary_key=True),
    Column("scope", String(500), nullable=False),  # the ceiling of what its partners' clients may have
    Column("epoch", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("max_clients", BigInteger, nullable=False, server_default=str(MAX_CLIENTS)),
)

partners = Table(
    "partners",
    METADATA,
    Column("partner_id", String(64), primary_key=True),
    Column("platform_id", ForeignKey("platforms.platform_id"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
)

clients = Table(
    "clients",
    METADATA,
    Column("client_id", String(64), primary_key=True),
    Column("client_type", String(16), nullable=False),
    Column("client_name", String(NAME_LENGTH), nullable=False),
    Column("platform_id", ForeignKey("platforms.platform_id")),
    Column("partner_id", ForeignKey("partners.partner_id")),
    Column("scope", String(500), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("token_endpoint_auth_method", String(32), nullable=False, server_default="client_secret_basic"),
    Column("jwks", Text),  # its public keys, a JWK set; absent: it authenticates by a secret
    # A client speaks for a platform, for a partner of a platform, or for the company itself.
    CheckConstraint(
        "(client_type = 'MASTER' AND platform_id IS NOT NULL AND partner_id IS NULL)"
        " OR (client_type = 'PARTNER' AND platform_id IS NOT NULL AND partner_id IS NOT NULL)"
        " OR (client_type IN ('WALLET', 'OPERATOR') AND platform_id IS NULL AND partner_id IS NULL)",
        name="clients_belong",
    ),
    Index("ix_clients_platform_id", "platform_id", "client_id"),
)

client_secrets = Table(
    "client_secrets",
    METADATA,
    Column("secret_id", String(80), primary_key=True),
    Column("client_id", ForeignKey("clients.client_id"), nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_id", Integer, nullable=False),  # which pepper it was digested with
    Column("create_time", BigInteger, nullable=False),
    Column("expire_time", BigInteger),  # absent: it does not
    Column("last_use_time", BigInteger),  # absent: never; written at most once a minute
)

# What manages one client by HTTP. At most one a client; clients registered by gRPC have none.
registration_access_tokens = Table(
    "registration_access_tokens",
    METADATA,
    Column("client_id", ForeignKey("clients.client_id"), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_id", Integer, nullable=False),  # which pepper it was digested with
    Column("create_time", BigInteger, nullable=False),
)

software_statements = Table(
    "software_statements",
    METADATA,
    Column("iss", String(200), primary_key=True),
    Column("jti", String(64), primary_key=True),
    Column("client_id", String(64), nullable=False),  # no foreign key: outlives its client, so it can't be used again
)

# Who is blocked: a client, a partner or a platform. No foreign key: a partner can be blocked before it has a client.
blocks = Table(
    "blocks",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("create_time", BigInteger, nullable=False),
)

# Tokens that were revoked one by one, until they would have expired.
revoked_tokens = Table(
    "revoked_tokens",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("client_id", String(64), nullable=False, index=True),
    Column("expire_time", BigInteger, nullable=False, index=True),
)

# Assertions that clients have authenticated by, until they would have expired. No foreign key: a client that is deleted
# leaves them behind.
used_assertions = Table(
    "used_assertions",
    METADATA,
    Column("client_id", String(64), primary_key=True),
    Column("jti_digest", LargeBinary(32), primary_key=True),
    Column("expire_time", BigInteger, nullable=False, index=True),
)

# What replicas and gateways must hear of, in the order of the commits.
feed = Table(
    "feed",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("create_time", BigInteger, nullable=False),
)

# One row, which a transaction that publishes keeps locked until it commits: so positions commit in their order.
feed_head = Table(
    "feed_head",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),  # what came up to this position is kept no more
)

keys = Table(
    "keys",
    METADATA,
    Column("key_id", Integer, primary_key=True),
    Column("use", String(16), nullable=False),
    Column("material", LargeBinary, nullable=False),  # sealed under the key-encryption key
    Column("create_time", BigInteger, nullable=False),
    Column("activate_time", BigInteger, nullable=False, server_default="0"),  # known to all before, in use from then on
    Column("retire_time", BigInteger),  # good for nothing from then on; absent: no successor yet
)

audit_log = Table(
    "audit_log",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("details", Text, nullable=False),  # a JSON object
    Column("mac", LargeBinary(32), nullable=False),  # over the line and the MAC of the line before
)

# One row: the last line, locked by whoever adds the next.
audit_head = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
)
