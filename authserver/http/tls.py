"""TLS of the HTTP face, by a certificate that may be renewed while it runs."""

import ssl

import structlog
from cryptography import x509

from authserver.config import HttpConfig
from mesh.config import ConfigError
from mesh.file_changes import FileChanges
from mesh.security.secret_files import read_private
from mesh.security.tls import note_chain

_log = structlog.get_logger()


def tls_context(config: HttpConfig) -> ssl.SSLContext:
    """Return what connections are secured by.

    When the files change, connections from then on get the new ones; if these are not good, the old ones stay.

    Raises:
        ConfigError: If a file can't be used, or others can read the private key.

    """
    changes = FileChanges([config.certificate, config.private_key])
    first = current = _read(config)

    def renew(connection: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
        """Secure a connection by what is there now. It is asked at each, also of clients that name no server."""
        nonlocal current
        if changes.any():
            try:
                # Into a context of its own, for one that can't be loaded would leave half of it behind.
                current = _read(config)
            except ConfigError as error:
                _log.error("the new certificate is not good, so the old one stays", error=str(error))
            else:
                _log.info("the certificate was renewed", certificate=str(config.certificate))
        connection.context = current

    first.sni_callback = renew
    return first


def _read(config: HttpConfig) -> ssl.SSLContext:
    read_private(config.private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate, config.private_key)
        note_chain(config.certificate, x509.load_pem_x509_certificates(config.certificate.read_bytes()))
    except (OSError, ValueError, ssl.SSLError) as error:
        raise ConfigError(f"{config.certificate}: can't be used with {config.private_key}: {error}") from error
    return context
