"""What the shops service is configured with."""

from pathlib import Path

from mesh.config import ChannelConfig, PositiveSeconds, ServerConfig, ServiceConfig


class ShopsConfig(ServiceConfig, frozen=True):
    """The marketplace: where it listens, what it keeps, and how it reaches the payment company."""

    # Where to listen; plain TLS, so without `client_ca`.
    server: ServerConfig
    # A SQLAlchemy URL, such as `sqlite:////var/lib/shops/shops.db`.
    database: str
    # The payment company's gateway; plain TLS, so without `certificate`.
    gateway: ChannelConfig
    # A private file with the Master Client's credentials, JSON: {"client_id": …, "client_secret": …}.
    master_credentials: Path
    # A private file with 256 bits that seal clients' secrets and payment codes in the database.
    sealing_key: Path
    # A private file with 256 bits that owner and order tokens are made with.
    token_key: Path
    # The first pause between two looks at an application under review; each further pause is twice as long.
    review_poll_seconds: PositiveSeconds = 0.5
    # The longest pause between two looks at an application under review.
    review_poll_max_seconds: PositiveSeconds = 30.0
