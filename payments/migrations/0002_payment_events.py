"""What changed of each partner's payments, in order, for those who watch them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Nobody kept the changes so far: each payment gets one, that made it as it stands.
_ADD_EVENTS = """
INSERT INTO payment_events (partner_id, sequence, payment_id, state, captured, refunded, update_time)
SELECT partner_id, row_number() OVER (PARTITION BY partner_id ORDER BY update_time, payment_id),
       payment_id, state, captured, refunded, update_time
FROM payments
"""
_COUNT_EVENTS = """
UPDATE partners SET event_count =
  (SELECT coalesce(max(sequence), 0) FROM payment_events WHERE payment_events.partner_id = partners.partner_id)
"""


def upgrade() -> None:
    """Create the table, and fill it from the payments that there are."""
    op.add_column("partners", sa.Column("event_count", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "payment_events",
        sa.Column("partner_id", sa.String(40), sa.ForeignKey("partners.partner_id"), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("payment_id", sa.String(40), sa.ForeignKey("payments.payment_id"), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("captured", sa.BigInteger, nullable=False),
        sa.Column("refunded", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.CheckConstraint("sequence >= 1", "event_sequence"),
        sa.CheckConstraint("state IN ('AUTHORIZED', 'CAPTURED', 'CANCELED', 'REFUNDED')", "event_state"),
        sa.CheckConstraint("refunded BETWEEN 0 AND captured", "event_refunded"),
        sqlite_with_rowid=False,
    )
    op.execute(_ADD_EVENTS)
    op.execute(_COUNT_EVENTS)
