"""The tables. Times are milliseconds since the epoch."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table

from mesh.storage.idempotency import IdempotencyTable

METADATA = MetaData()
IDEMPOTENCY = IdempotencyTable(METADATA)

SHOPS = Table(
    "shops",
    METADATA,
    Column("shop_id", String(40), primary_key=True),
    Column("display_name", String(200), nullable=False),
    Column("contact_email", String(254), nullable=False),
    Column("business_description", String(500), nullable=False),
    # Of the owner token: raising it ends the token that the owner has.
    Column("generation", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("application_id", String(80)),
    Column("partner_id", String(80)),
    Column("client_id", String(80)),
    Column("sealed_client_secret", LargeBinary),
    Column("rejection_reason", String),
    # How often the present step was tried in vain, and when it is tried next: never, if null.
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_time", BigInteger),
    Column("create_time", BigInteger, nullable=False),
    Index("shops_by_next_attempt_time", "next_attempt_time"),
    Index("shops_by_state", "state", "shop_id"),
)

PRODUCTS = Table(
    "products",
    METADATA,
    Column("product_id", String(40), primary_key=True),
    Column("shop_id", String(40), ForeignKey("shops.shop_id"), nullable=False),
    Column("display_name", String(200), nullable=False),
    Column("currency_code", String(3), nullable=False),
    Column("minor_units", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Index("products_by_shop_id", "shop_id", "product_id"),
)

ORDERS = Table(
    "orders",
    METADATA,
    Column("order_id", String(40), primary_key=True),
    Column("shop_id", String(40), ForeignKey("shops.shop_id"), nullable=False),
    Column("currency_code", String(3), nullable=False),
    Column("minor_units", BigInteger, nullable=False),
    Column("state", String(20), nullable=False),
    # Null once the payment is decided.
    Column("sealed_payment_code", LargeBinary),
    Column("payment_id", String(80)),
    Column("decline_reason", String),
    # How often paying was tried in vain, and when it is tried next: never, if null.
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_time", BigInteger),
    Column("create_time", BigInteger, nullable=False),
    Index("orders_by_next_attempt_time", "next_attempt_time"),
)

ORDER_ITEMS = Table(
    "order_items",
    METADATA,
    Column("order_id", String(40), ForeignKey("orders.order_id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("product_id", String(40), ForeignKey("products.product_id"), nullable=False),
    Column("quantity", Integer, nullable=False),
    # The price of one when it was ordered, in the order's currency.
    Column("minor_units", BigInteger, nullable=False),
)
