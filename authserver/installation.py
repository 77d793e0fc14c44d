"""What an installation's files hold: peppers, the audit key, key-encryption keys."""

import time
from dataclasses import dataclass

from authserver.audit.trail import Trail
from authserver.clients.secrets import Peppers
from authserver.config import AuthServerConfig
from authserver.keys.encryption import KeyEncryption
from mesh.config import ConfigError
from mesh.security.secret_files import read_key


@dataclass(frozen=True, slots=True)
class Installation:
    """The secrets of an auth server, and of the commands that work beside its database.

    Attributes:
        peppers: What client secrets are digested with.
        trail: Where acts are recorded.
        audit_key: What the audit log is chained with.
        key_encryption: What signing and sealing keys lie encrypted under.

    """

    peppers: Peppers
    trail: Trail
    audit_key: bytes
    key_encryption: KeyEncryption


def read_installation(config: AuthServerConfig) -> Installation:
    """Read the files that a configuration names.

    Raises:
        ConfigError: If one can't be read or is no key, or two peppers have the same number.

    """
    peppers = {pepper.id: read_key(pepper.file) for pepper in config.peppers}
    if len(peppers) < len(config.peppers):
        raise ConfigError("two peppers have the same id")
    audit_key = read_key(config.audit_key)
    return Installation(
        Peppers(peppers, config.peppers[0].id),
        Trail(audit_key, time.time),
        audit_key,
        KeyEncryption([read_key(file) for file in config.key_encryption_keys]),
    )
