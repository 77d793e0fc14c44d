"""The tables. Money is in minor units, times in milliseconds.

The constraints repeat what the rules guarantee where money is concerned, so that the database refuses what a fault lets
through.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from mesh.storage.idempotency import IdempotencyTable

# Sorts after every id; lists of the newest first begin below it.
AFTER_ALL_IDS = "z"

METADATA = MetaData()

idempotency = IdempotencyTable(METADATA)

partners = Table(
    "partners",
    METADATA,
    Column("partner_id", String(40), primary_key=True),
    Column("platform_id", String(40), nullable=False),
    Column("create_time", BigInteger, nullable=False),
    # How many payment events there are; the row's lock puts those of concurrent transactions in order.
    Column("event_count", BigInteger, nullable=False, server_default="0"),
)

applications = Table(
    "partner_applications",
    METADATA,
    Column("application_id", String(40), primary_key=True),
    Column("platform_id", String(40), nullable=False),
    Column("merchant_name", String(200), nullable=False),
    Column("contact_email", String(254), nullable=False),
    Column("business_description", String(500), nullable=False),
    Column("state", String(20), nullable=False),
    Column("partner_id", String(40), ForeignKey("partners.partner_id"), unique=True),
    Column("rejection_reason", String(500)),
    Column("reviewer", String(80)),
    Column("create_time", BigInteger, nullable=False),
    Column("decide_time", BigInteger),
    CheckConstraint("state IN ('PENDING', 'APPROVED', 'REJECTED')", "application_state"),
    CheckConstraint("(state = 'APPROVED') = (partner_id IS NOT NULL)", "application_partner"),
    CheckConstraint("(state = 'REJECTED') = (rejection_reason IS NOT NULL)", "application_rejection"),
    CheckConstraint("(state = 'PENDING') = (reviewer IS NULL)", "application_reviewer"),
    CheckConstraint("(state = 'PENDING') = (decide_time IS NULL)", "application_decision"),
    Index("applications_of_platform", "platform_id", "application_id"),
    Index("applications_in_state", "state", "application_id"),
)

wallets = Table(
    "wallets",
    METADATA,
    Column("wallet_id", String(40), primary_key=True),
    Column("currency_code", String(3), nullable=False),
    Column("create_time", BigInteger, nullable=False),
)

payments = Table(
    "payments",
    METADATA,
    Column("payment_id", String(40), primary_key=True),
    Column("partner_id", String(40), ForeignKey("partners.partner_id"), nullable=False),
    Column("wallet_id", String(40), ForeignKey("wallets.wallet_id"), nullable=False),
    Column("currency_code", String(3), nullable=False),
    Column("state", String(20), nullable=False),
    Column("authorized", BigInteger, nullable=False),
    Column("captured", BigInteger, nullable=False),
    Column("refunded", BigInteger, nullable=False),
    Column("fee_basis_points", BigInteger, nullable=False),
    Column("description", String(200), nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    CheckConstraint("state IN ('AUTHORIZED', 'CAPTURED', 'CANCELED', 'REFUNDED')", "payment_state"),
    CheckConstraint("authorized BETWEEN 1 AND 1000000000000", "payment_authorized"),
    CheckConstraint("captured BETWEEN 0 AND authorized", "payment_captured"),
    CheckConstraint("refunded BETWEEN 0 AND captured", "payment_refunded"),
    CheckConstraint("(state IN ('AUTHORIZED', 'CANCELED')) = (captured = 0)", "payment_capture_state"),
    CheckConstraint("(state = 'REFUNDED') = (captured > 0 AND refunded = captured)", "payment_refund_state"),
    CheckConstraint("fee_basis_points BETWEEN 0 AND 10000", "payment_fee"),
    Index("payments_of_partner", "partner_id", "payment_id"),
)

payment_events = Table(
    "payment_events",
    METADATA,
    Column("partner_id", String(40), ForeignKey("partners.partner_id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("payment_id", String(40), ForeignKey("payments.payment_id"), nullable=False),
    # What may change of a payment, as it was then.
    Column("state", String(20), nullable=False),
    Column("captured", BigInteger, nullable=False),
    Column("refunded", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    CheckConstraint("sequence >= 1", "event_sequence"),
    CheckConstraint("state IN ('AUTHORIZED', 'CAPTURED', 'CANCELED', 'REFUNDED')", "event_state"),
    CheckConstraint("refunded BETWEEN 0 AND captured", "event_refunded"),
    sqlite_with_rowid=False,  # rows lie in the key itself: half the pages to write
)

payment_codes = Table(
    "payment_codes",
    METADATA,
    Column("code_digest", LargeBinary(32), primary_key=True),
    Column("wallet_id", String(40), ForeignKey("wallets.wallet_id"), nullable=False),
    Column("currency_code", String(3), nullable=False),
    Column("charge_limit", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
    Column("payment_id", String(40), ForeignKey("payments.payment_id"), unique=True),
    CheckConstraint("charge_limit BETWEEN 1 AND 1000000000000", "code_limit"),
    CheckConstraint("expire_time > create_time", "code_expiry"),
)

accounts = Table(
    "ledger_accounts",
    METADATA,
    # A wallet or a partner; which of them, the kind says.
    Column("owner_id", String(40), primary_key=True),
    Column("currency_code", String(3), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("balance", BigInteger, nullable=False),
    Column("entry_count", BigInteger, nullable=False),
    CheckConstraint("kind IN ('CASH', 'WALLET', 'HOLD', 'PARTNER', 'FEE')", "account_kind"),
    CheckConstraint("(kind = 'CASH' AND balance <= 0) OR (kind <> 'CASH' AND balance >= 0)", "account_side"),
    CheckConstraint("balance BETWEEN -9000000000000000 AND 9000000000000000", "account_limit"),
    CheckConstraint("entry_count >= 0", "account_entry_count"),
    sqlite_with_rowid=False,  # rows lie in the key itself: half the pages to write
)

transactions = Table(
    "ledger_transactions",
    METADATA,
    Column("transaction_id", String(40), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("payment_id", String(40), ForeignKey("payments.payment_id")),
    Column("create_time", BigInteger, nullable=False),
    CheckConstraint("kind IN ('TOP_UP', 'AUTHORIZATION', 'CAPTURE', 'CANCELLATION', 'REFUND')", "transaction_kind"),
    CheckConstraint("(kind = 'TOP_UP') = (payment_id IS NULL)", "transaction_payment"),
    Index("transactions_of_payment", "payment_id"),
)

entries = Table(
    "ledger_entries",
    METADATA,
    Column("owner_id", String(40), primary_key=True),
    Column("currency_code", String(3), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("transaction_id", String(40), ForeignKey("ledger_transactions.transaction_id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["owner_id", "currency_code", "kind"],
        ["ledger_accounts.owner_id", "ledger_accounts.currency_code", "ledger_accounts.kind"],
    ),
    CheckConstraint("sequence >= 1", "entry_sequence"),
    CheckConstraint("amount <> 0", "entry_amount"),
    Index("entries_of_transaction", "transaction_id"),
    sqlite_with_rowid=False,  # rows lie in the key itself: half the pages to write
)
