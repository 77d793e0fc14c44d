"""Revocations and their feed, blocks, several secrets for a client, keys that come and go, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Each client keeps the secret that it has, digested with the only pepper that there was.
_MOVE_SECRETS = """
INSERT INTO client_secrets (secret_id, client_id, digest, pepper_id, create_time)
SELECT 'sec_' || client_id, client_id, secret_digest, 1, create_time FROM clients
"""
# The keys that there are go on in use.
_ACTIVATE_KEYS = "UPDATE keys SET activate_time = create_time"


def upgrade() -> None:
    """Create the tables, and fill them from what there is."""
    op.create_table(
        "client_secrets",
        sa.Column("secret_id", sa.String(80), primary_key=True),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("clients.client_id"), nullable=False, index=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_id", sa.Integer, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger),
        sa.Column("last_use_time", sa.BigInteger),
    )
    op.execute(_MOVE_SECRETS)
    op.drop_column("clients", "secret_digest")
    op.create_index("ix_clients_platform_id", "clients", ["platform_id", "client_id"])
    op.add_column("platforms", sa.Column("max_clients", sa.BigInteger, nullable=False, server_default="10000"))
    op.create_table(
        "blocks",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "revoked_tokens",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("client_id", sa.String(64), nullable=False, index=True),
        sa.Column("expire_time", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "feed",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    head = op.create_table(
        "feed_head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "position": 1, "start": 1}])
    op.add_column("keys", sa.Column("activate_time", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("keys", sa.Column("retire_time", sa.BigInteger))
    op.execute(_ACTIVATE_KEYS)
    op.create_table(
        "audit_log",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary(32), nullable=False),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary(32), nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "mac": bytes(32)}])
