from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mesh.security.tls import CertificateExpiry, note_authorities, note_chain


def good_until(*years: int) -> list[Any]:
    return [SimpleNamespace(not_valid_after_utc=datetime(year, 1, 1, tzinfo=UTC)) for year in years]


def told(file: Path) -> int:
    (family,) = CertificateExpiry().collect()
    (value,) = [sample.value for sample in family.samples if sample.labels == {"file": str(file)}]
    return datetime.fromtimestamp(value, UTC).year


def test_a_chain_is_good_until_its_first_certificate_expires_and_what_was_read_last_counts(tmp_path: Path) -> None:
    note_chain(tmp_path, good_until(2030, 2028, 2040))
    assert told(tmp_path) == 2028
    note_chain(tmp_path, good_until(2031))
    assert told(tmp_path) == 2031


def test_authorities_are_good_until_the_last_one_expires(tmp_path: Path) -> None:
    note_authorities(tmp_path, good_until(2020, 2035, 2030))
    assert told(tmp_path) == 2035
