"""TLS credentials from files. A client certificate identifies the caller by its SPIFFE id."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mesh.config import ChannelConfig, ConfigError, ServerConfig
from mesh.file_changes import FileChanges
from mesh.security.secret_files import read_private

TRUST_DOMAIN = "sekisho"

_log = structlog.get_logger()


def spiffe_id(workload: str) -> str:
    """Return the SPIFFE id of a workload: `gateway` is `spiffe://sekisho/gateway`."""
    return f"spiffe://{TRUST_DOMAIN}/{workload}"


def dns_name(workload: str) -> str:
    """Return the host name in a workload's certificate. Channels check it: gRPC clients check host names only."""
    return f"{workload}.{TRUST_DOMAIN}.internal"


def server_credentials(config: ServerConfig) -> grpc.ServerCredentials:
    """Return TLS credentials, or mTLS ones if the configuration names a client CA.

    When the files change, connections from then on get the new ones; if these are not good, the old ones stay.

    Raises:
        ConfigError: If a file can't be read or is no PEM, others can read the private key too, or it is not the
            certificate's.

    """
    changes = FileChanges([config.certificate, config.private_key, config.client_ca])

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        """Return what is new. gRPC asks this at each connection, in a thread of its own."""
        if not changes.any():
            return None
        try:
            configuration = _server_certificate(config)
        except ConfigError as error:
            _log.error("the new certificate is not good, so the old one stays", error=str(error))
            return None
        _log.info("the certificate was renewed", certificate=str(config.certificate))
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        _server_certificate(config),
        renewed,  # type: ignore[arg-type]  # the types don't know that None means: as before
        require_client_authentication=config.client_ca is not None,
    )


def _server_certificate(config: ServerConfig) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [_key_and_chain(config.private_key, config.certificate)],
        root_certificates=_authorities(config.client_ca) if config.client_ca else None,
    )


def channel_credentials(config: ChannelConfig) -> grpc.ChannelCredentials:
    """Return TLS credentials, or mTLS ones if the configuration names a certificate.

    Raises:
        ConfigError: If a file can't be read or is no PEM, others can read the private key too, or it is not the
            certificate's, or there is only one of the two.

    """
    key = chain = None
    if config.private_key and config.certificate:
        key, chain = _key_and_chain(config.private_key, config.certificate)
    elif config.private_key or config.certificate:
        raise ConfigError(f"{config.target}: a certificate and its private key go together")
    return grpc.ssl_channel_credentials(
        root_certificates=_authorities(config.ca), private_key=key, certificate_chain=chain
    )


def _key_and_chain(private_key: Path, certificate: Path) -> tuple[bytes, bytes]:
    """Return both files, which fit: while they are renewed, one may be newer than the other."""
    key, chain = read_private(private_key), _read(certificate)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        fits = load_pem_private_key(key, None).public_key() == certificates[0].public_key()
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{certificate}, {private_key}: {error}") from error
    if not fits:
        raise ConfigError(f"{private_key} is not the key of {certificate}")
    note_chain(certificate, certificates)
    return key, chain


def _authorities(path: Path) -> bytes:
    """Return a file of CA certificates, which are some: gRPC itself would find out at the first connection only."""
    content = _read(path)
    try:
        note_authorities(path, x509.load_pem_x509_certificates(content))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


# By file, in seconds of the epoch. One for the process, as its files are.
_good_until: dict[Path, float] = {}


def note_chain(file: Path, chain: Iterable[x509.Certificate]) -> None:
    """Remember a certificate and those that vouch for it: it is good as long as all of them are."""
    _good_until[file] = min(each.not_valid_after_utc.timestamp() for each in chain)


def note_authorities(file: Path, authorities: Iterable[x509.Certificate]) -> None:
    """Remember who is believed: as long as any of them is good, for while they change there is an older one."""
    _good_until[file] = max(each.not_valid_after_utc.timestamp() for each in authorities)


class CertificateExpiry(Collector):
    """Tells when the certificates expire, as they were last read."""

    def collect(self) -> Iterator[Metric]:
        """Yield one figure for each file."""
        family = GaugeMetricFamily(
            "sekisho_certificate_expiry_timestamp_seconds", "When a certificate expires.", labels=["file"]
        )
        for file, until in sorted(_good_until.items()):
            family.add_metric([str(file)], until)
        yield family
