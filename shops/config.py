"""What the shops service is configured with."""

from pathlib import Path
from typing import Annotated

import msgspec

from mesh.config import ChannelConfig, Config, ConfigError, ServerConfig
from mesh.secret_files import read_private
from shops.tokens import Credentials

Seconds = Annotated[float, msgspec.Meta(gt=0)]


class ShopsConfig(Config, frozen=True):
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
    review_poll_seconds: Seconds = 0.5
    # The longest pause between two looks at an application under review.
    review_poll_max_seconds: Seconds = 30.0


class _CredentialsFile(Config, frozen=True):
    client_id: str
    client_secret: str


def read_credentials(path: Path) -> Credentials:
    """Read a client's credentials from a private JSON file.

    Raises:
        ConfigError: If the file can't be read, others can read it too, or it does not hold credentials.

    """
    try:
        content = msgspec.json.decode(read_private(path), type=_CredentialsFile)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Credentials(content.client_id, content.client_secret)
