"""How clients authenticate: by a secret as before, or by their keys; and the assertions that were used."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns, so that each client goes on by its secret, and the table."""
    method = sa.Column(
        "token_endpoint_auth_method", sa.String(32), nullable=False, server_default="client_secret_basic"
    )
    op.add_column("clients", method)
    op.add_column("clients", sa.Column("jwks", sa.Text))
    op.create_table(
        "used_assertions",
        sa.Column("client_id", sa.String(64), primary_key=True),
        sa.Column("jti_digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("expire_time", sa.BigInteger, nullable=False, index=True),
    )
