"""TLS credentials from files. Whoever shows a certificate is known by the SPIFFE id in it."""

from pathlib import Path

import grpc

from mesh.config import ChannelConfig, ConfigError, ServerConfig
from mesh.secret_files import read_private

TRUST_DOMAIN = "sekisho"


def spiffe_id(workload: str) -> str:
    """Return the SPIFFE id of a workload: `gateway` is `spiffe://sekisho/gateway`."""
    return f"spiffe://{TRUST_DOMAIN}/{workload}"


def dns_name(workload: str) -> str:
    """Return the host name in a workload's certificate; channels check it, for gRPC clients check host names only."""
    return f"{workload}.{TRUST_DOMAIN}.internal"


def server_credentials(config: ServerConfig) -> grpc.ServerCredentials:
    """Return TLS credentials, or mTLS ones if the configuration names a client CA.

    Raises:
        ConfigError: If a file can't be read, or others can read the private key too.

    """
    return grpc.ssl_server_credentials(
        [(read_private(config.private_key), _read(config.certificate))],
        root_certificates=_read(config.client_ca) if config.client_ca else None,
        require_client_auth=config.client_ca is not None,
    )


def channel_credentials(config: ChannelConfig) -> grpc.ChannelCredentials:
    """Return TLS credentials, or mTLS ones if the configuration names a certificate.

    Raises:
        ConfigError: If a file can't be read, or others can read the private key too.

    """
    return grpc.ssl_channel_credentials(
        root_certificates=_read(config.ca),
        private_key=read_private(config.private_key) if config.private_key else None,
        certificate_chain=_read(config.certificate) if config.certificate else None,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
