"""Clients, platforms, partners, used software statements, and keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "platforms",
        sa.Column("platform_id", sa.String(64), primary_key=True),
        sa.Column("scope", sa.String(500), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "partners",
        sa.Column("partner_id", sa.String(64), primary_key=True),
        sa.Column("platform_id", sa.String(64), sa.ForeignKey("platforms.platform_id"), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "clients",
        sa.Column("client_id", sa.String(64), primary_key=True),
        sa.Column("client_type", sa.String(16), nullable=False),
        sa.Column("client_name", sa.String(200), nullable=False),
        sa.Column("platform_id", sa.String(64), sa.ForeignKey("platforms.platform_id")),
        sa.Column("partner_id", sa.String(64), sa.ForeignKey("partners.partner_id")),
        sa.Column("scope", sa.String(500), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("secret_digest", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.CheckConstraint(
            "(client_type = 'MASTER' AND platform_id IS NOT NULL AND partner_id IS NULL)"
            " OR (client_type = 'PARTNER' AND platform_id IS NOT NULL AND partner_id IS NOT NULL)"
            " OR (client_type IN ('WALLET', 'OPERATOR') AND platform_id IS NULL AND partner_id IS NULL)",
            name="clients_belong",
        ),
    )
    op.create_table(
        "software_statements",
        sa.Column("iss", sa.String(200), primary_key=True),
        sa.Column("jti", sa.String(64), primary_key=True),
        sa.Column("client_id", sa.String(64), nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("key_id", sa.Integer, primary_key=True),
        sa.Column("use", sa.String(16), nullable=False),
        sa.Column("material", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
