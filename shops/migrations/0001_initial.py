"""Shops, their products, and orders."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _create_idempotency_keys()
    _create_shops()
    _create_products()
    _create_orders()


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(80), primary_key=True),
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
    )


def _create_shops() -> None:
    op.create_table(
        "shops",
        sa.Column("shop_id", sa.String(40), primary_key=True),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("contact_email", sa.String(254), nullable=False),
        sa.Column("business_description", sa.String(500), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("application_id", sa.String(80)),
        sa.Column("partner_id", sa.String(80)),
        sa.Column("client_id", sa.String(80)),
        sa.Column("sealed_client_secret", sa.LargeBinary),
        sa.Column("rejection_reason", sa.String),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_time", sa.BigInteger),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_index("shops_by_next_attempt_time", "shops", ["next_attempt_time"])
    op.create_index("shops_by_state", "shops", ["state", "shop_id"])


def _create_products() -> None:
    op.create_table(
        "products",
        sa.Column("product_id", sa.String(40), primary_key=True),
        sa.Column("shop_id", sa.String(40), sa.ForeignKey("shops.shop_id"), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("currency_code", sa.String(3), nullable=False),
        sa.Column("minor_units", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_index("products_by_shop_id", "products", ["shop_id", "product_id"])


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(40), primary_key=True),
        sa.Column("shop_id", sa.String(40), sa.ForeignKey("shops.shop_id"), nullable=False),
        sa.Column("currency_code", sa.String(3), nullable=False),
        sa.Column("minor_units", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("sealed_payment_code", sa.LargeBinary),
        sa.Column("payment_id", sa.String(80)),
        sa.Column("decline_reason", sa.String),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_time", sa.BigInteger),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_index("orders_by_next_attempt_time", "orders", ["next_attempt_time"])
    op.create_table(
        "order_items",
        sa.Column("order_id", sa.String(40), sa.ForeignKey("orders.order_id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("product_id", sa.String(40), sa.ForeignKey("products.product_id"), nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("minor_units", sa.BigInteger, nullable=False),
    )
