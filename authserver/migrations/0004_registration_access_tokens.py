"""Registration access tokens, by which a client that was registered over HTTP is managed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "registration_access_tokens",
        sa.Column("client_id", sa.String(64), sa.ForeignKey("clients.client_id"), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_id", sa.Integer, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
