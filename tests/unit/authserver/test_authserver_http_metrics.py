"""What the auth server tells Prometheus of its HTTP face."""

from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from authserver.config import AuthServerConfig
from cli.local.configurations import HOST, reserved_port
from cli.local.rates import Sample, samples
from mesh.storage.database import Database
from tests.migrated import migrated_sqlite
from tests.unit.authserver.face import GRANT, basic, face_up


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return migrated_sqlite(tmp_path / "database.db", "authserver")  # nothing here is about databases


def of(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


def calls(method: str, status: str) -> Sample:
    return of("sekisho_calls_total", method=method, client_type="none", decision="none", status=status)


def scraped(address: str) -> Mapping[Sample, float]:
    return samples(text_string_to_metric_families(httpx.get(f"http://{address}/metrics").text))


def test_requests_are_counted_by_endpoint_and_status_and_unknown_paths_together(
    config: AuthServerConfig, database: Database, tmp_path: Path
) -> None:
    address = f"{HOST}:{reserved_port()}"
    with face_up(replace(config, metrics_listen=address), database, tmp_path) as face:
        assert face.http.post("/oauth2/token", data=GRANT, auth=basic(face.shops)).is_success
        assert face.http.post("/oauth2/token", data=GRANT, auth=("nobody", "nothing")).status_code == 401
        assert face.http.get("/oauth2/register/cli_1").status_code == 401
        assert face.http.head("/openapi.json").is_success
        for path in ("/1", "/2", "/sekisho.auth.v1.TokenService/IssueToken"):  # a method, but not by HTTP
            assert face.http.get(path).status_code == 404
        assert face.http.get("/oauth2/token").status_code == 405
        told = scraped(address)
    assert told[calls("POST /oauth2/token", "200")] == told[calls("POST /oauth2/token", "401")] == 1
    assert told[calls("GET /oauth2/register/{client_id}", "401")] == 1
    assert told[calls("HEAD /openapi.json", "200")] == 1
    assert (told[calls("other", "404")], told[calls("other", "405")]) == (3, 1)
    assert told[of("sekisho_refusals_total", method="POST /oauth2/token", reason="INVALID_CLIENT")] == 1
    assert told[of("sekisho_call_seconds_count", method="POST /oauth2/token")] == 2


def test_it_is_told_when_certificates_expire(config: AuthServerConfig, database: Database, tmp_path: Path) -> None:
    address = f"{HOST}:{reserved_port()}"
    with face_up(replace(config, metrics_listen=address), database, tmp_path) as face:
        told = scraped(address)
    assert face.config.http
    for file in (face.config.http.certificate, face.config.server.certificate, face.config.server.client_ca):
        assert file
        until = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()
        assert told[of("sekisho_certificate_expiry_timestamp_seconds", file=str(file))] == until
