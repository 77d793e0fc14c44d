"""The TLS of the HTTP face."""

import ssl

from authserver.config import HttpConfig
from mesh.config import ConfigError
from mesh.secret_files import read_private


def tls_context(config: HttpConfig) -> ssl.SSLContext:
    """Return what shows the configured certificate, by TLS 1.2 or later.

    Raises:
        ConfigError: If a file can't be used, or others can read the private key.

    """
    read_private(config.private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate, config.private_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{config.certificate}: can't be used with {config.private_key}: {error}") from error
    return context
