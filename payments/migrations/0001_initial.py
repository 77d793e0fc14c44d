"""The first schema of the payments service."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _create_idempotency()
    _create_partners()
    _create_wallets_and_payments()
    _create_ledger()


def _create_idempotency() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(80), primary_key=True),
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
    )


def _create_partners() -> None:
    op.create_table(
        "partners",
        sa.Column("partner_id", sa.String(40), primary_key=True),
        sa.Column("platform_id", sa.String(40), nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "partner_applications",
        sa.Column("application_id", sa.String(40), primary_key=True),
        sa.Column("platform_id", sa.String(40), nullable=False),
        sa.Column("merchant_name", sa.String(200), nullable=False),
        sa.Column("contact_email", sa.String(254), nullable=False),
        sa.Column("business_description", sa.String(500), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("partner_id", sa.String(40), sa.ForeignKey("partners.partner_id"), unique=True),
        sa.Column("rejection_reason", sa.String(500)),
        sa.Column("reviewer", sa.String(80)),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("decide_time", sa.BigInteger),
        sa.CheckConstraint("state IN ('PENDING', 'APPROVED', 'REJECTED')", "application_state"),
        sa.CheckConstraint("(state = 'APPROVED') = (partner_id IS NOT NULL)", "application_partner"),
        sa.CheckConstraint("(state = 'REJECTED') = (rejection_reason IS NOT NULL)", "application_rejection"),
        sa.CheckConstraint("(state = 'PENDING') = (reviewer IS NULL)", "application_reviewer"),
        sa.CheckConstraint("(state = 'PENDING') = (decide_time IS NULL)", "application_decision"),
    )
    op.create_index("applications_of_platform", "partner_applications", ["platform_id", "application_id"])
    op.create_index("applications_in_state", "partner_applications", ["state", "application_id"])


def _create_wallets_and_payments() -> None:
    op.create_table(
        "wallets",
        sa.Column("wallet_id", sa.String(40), primary_key=True),
        sa.Column("currency_code", sa.String(3), nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "payments",
        sa.Column("payment_id", sa.String(40), primary_key=True),
        sa.Column("partner_id", sa.String(40), sa.ForeignKey("partners.partner_id"), nullable=False),
        sa.Column("wallet_id", sa.String(40), sa.ForeignKey("wallets.wallet_id"), nullable=False),
        sa.Column("currency_code", sa.String(3), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("authorized", sa.BigInteger, nullable=False),
        sa.Column("captured", sa.BigInteger, nullable=False),
        sa.Column("refunded", sa.BigInteger, nullable=False),
        sa.Column("fee_basis_points", sa.BigInteger, nullable=False),
        sa.Column("description", sa.String(200), nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.CheckConstraint("state IN ('AUTHORIZED', 'CAPTURED', 'CANCELED', 'REFUNDED')", "payment_state"),
        sa.CheckConstraint("authorized BETWEEN 1 AND 1000000000000", "payment_authorized"),
        sa.CheckConstraint("captured BETWEEN 0 AND authorized", "payment_captured"),
        sa.CheckConstraint("refunded BETWEEN 0 AND captured", "payment_refunded"),
        sa.CheckConstraint("(state IN ('AUTHORIZED', 'CANCELED')) = (captured = 0)", "payment_capture_state"),
        sa.CheckConstraint("(state = 'REFUNDED') = (captured > 0 AND refunded = captured)", "payment_refund_state"),
        sa.CheckConstraint("fee_basis_points BETWEEN 0 AND 10000", "payment_fee"),
    )
    op.create_index("payments_of_partner", "payments", ["partner_id", "payment_id"])
    op.create_table(
        "payment_codes",
        sa.Column("code_digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("wallet_id", sa.String(40), sa.ForeignKey("wallets.wallet_id"), nullable=False),
        sa.Column("currency_code", sa.String(3), nullable=False),
        sa.Column("charge_limit", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger, nullable=False),
        sa.Column("payment_id", sa.String(40), sa.ForeignKey("payments.payment_id"), unique=True),
        sa.CheckConstraint("charge_limit BETWEEN 1 AND 1000000000000", "code_limit"),
        sa.CheckConstraint("expire_time > create_time", "code_expiry"),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger_accounts",
        sa.Column("owner_id", sa.String(40), primary_key=True),
        sa.Column("currency_code", sa.String(3), primary_key=True),
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("balance", sa.BigInteger, nullable=False),
        sa.Column("entry_count", sa.BigInteger, nullable=False),
        sa.CheckConstraint("kind IN ('CASH', 'WALLET', 'HOLD', 'PARTNER', 'FEE')", "account_kind"),
        sa.CheckConstraint("(kind = 'CASH' AND balance <= 0) OR (kind <> 'CASH' AND balance >= 0)", "account_side"),
        sa.CheckConstraint("balance BETWEEN -9000000000000000 AND 9000000000000000", "account_limit"),
        sa.CheckConstraint("entry_count >= 0", "account_entry_count"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_transactions",
        sa.Column("transaction_id", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("payment_id", sa.String(40), sa.ForeignKey("payments.payment_id")),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.CheckConstraint(
            "kind IN ('TOP_UP', 'AUTHORIZATION', 'CAPTURE', 'CANCELLATION', 'REFUND')", "transaction_kind"
        ),
        sa.CheckConstraint("(kind = 'TOP_UP') = (payment_id IS NULL)", "transaction_payment"),
    )
    op.create_index("transactions_of_payment", "ledger_transactions", ["payment_id"])
    op.create_table(
        "ledger_entries",
        sa.Column("owner_id", sa.String(40), primary_key=True),
        sa.Column("currency_code", sa.String(3), primary_key=True),
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("transaction_id", sa.String(40), sa.ForeignKey("ledger_transactions.transaction_id"), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("balance_after", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id", "currency_code", "kind"],
            ["ledger_accounts.owner_id", "ledger_accounts.currency_code", "ledger_accounts.kind"],
        ),
        sa.CheckConstraint("sequence >= 1", "entry_sequence"),
        sa.CheckConstraint("amount <> 0", "entry_amount"),
        sqlite_with_rowid=False,
    )
    op.create_index("entries_of_transaction", "ledger_entries", ["transaction_id"])
