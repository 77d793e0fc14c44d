"""What a client of the payment company's auth server shows to get access tokens."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mesh.config import Config, ConfigError
from mesh.security.secret_files import read_private


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client's id and secret."""

    client_id: str
    client_secret: str = field(repr=False)


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
