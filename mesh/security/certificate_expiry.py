"""Until when the certificates are good that this process goes by."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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
