import datetime as dt
import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from mesh.security import pki


@pytest.fixture
def authority(tmp_path: Path) -> pki.Authority:
    return pki.create_authority(tmp_path, "company")


def read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def usages(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def is_ca(certificate: x509.Certificate) -> bool:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_workloads_certificate_names_it_by_spiffe_id_and_host_name(tmp_path: Path, authority: pki.Authority) -> None:
    pki.issue_workload(authority, tmp_path, "gateway")
    certificate = read(tmp_path / "gateway.pem")
    assert names(certificate).get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://sekisho/gateway"]
    assert names(certificate).get_values_for_type(x509.DNSName) == ["gateway.sekisho.internal"]
    assert len(list(names(certificate))) == 2
    assert usages(certificate) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_a_public_certificate_names_this_machine_and_identifies_no_workload(
    tmp_path: Path, authority: pki.Authority
) -> None:
    pki.issue_public(authority, tmp_path, "gateway-public")
    certificate = read(tmp_path / "gateway-public.pem")
    assert names(certificate).get_values_for_type(x509.DNSName) == ["localhost"]
    assert set(names(certificate).get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    }
    assert names(certificate).get_values_for_type(x509.UniformResourceIdentifier) == []
    assert usages(certificate) == {ExtendedKeyUsageOID.SERVER_AUTH}


def test_certificates_are_signed_by_the_authority_and_may_sign_none_themselves(
    tmp_path: Path, authority: pki.Authority
) -> None:
    pki.issue_workload(authority, tmp_path, "gateway")
    certificate = read(tmp_path / "gateway.pem")
    certificate.verify_directly_issued_by(authority.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (is_ca(certificate), usage.key_cert_sign, usage.digital_signature) == (False, False, True)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).critical


def test_the_authority_may_sign_certificates_but_no_further_authorities(authority: pki.Authority) -> None:
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = authority.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)


def test_certificates_are_good_now_and_for_a_year(tmp_path: Path, authority: pki.Authority) -> None:
    pki.issue_workload(authority, tmp_path, "gateway")
    now = dt.datetime.now(dt.UTC)
    for certificate in (authority.certificate, read(tmp_path / "gateway.pem")):
        assert certificate.not_valid_before_utc <= now - dt.timedelta(minutes=4)
        assert now + dt.timedelta(days=364) < certificate.not_valid_after_utc < now + dt.timedelta(days=366)


def test_private_keys_lie_in_files_that_only_their_owner_can_read(tmp_path: Path, authority: pki.Authority) -> None:
    pki.issue_workload(authority, tmp_path, "gateway")
    pki.issue_public(authority, tmp_path, "gateway-public")
    for name in ("company", "gateway", "gateway-public"):
        file = tmp_path / f"{name}-key.pem"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert b"PRIVATE" not in (tmp_path / f"{name}.pem").read_bytes()


def test_each_certificate_has_a_key_of_its_own(tmp_path: Path, authority: pki.Authority) -> None:
    for workload in ("gateway", "payments"):
        pki.issue_workload(authority, tmp_path, workload)
    keys = set()
    for name in ("company", "gateway", "payments"):
        key = serialization.load_pem_private_key((tmp_path / f"{name}-key.pem").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.public_key() == read(tmp_path / f"{name}.pem").public_key()
        keys.add(key.private_numbers().private_value)
    assert len(keys) == 3


def test_an_authority_made_before_is_used_again(tmp_path: Path, authority: pki.Authority) -> None:
    again = pki.create_authority(tmp_path, "company")
    assert again.certificate == authority.certificate
    pki.issue_workload(again, tmp_path, "gateway")
    read(tmp_path / "gateway.pem").verify_directly_issued_by(authority.certificate)


def test_authorities_of_two_names_are_two(tmp_path: Path, authority: pki.Authority) -> None:
    other = pki.create_authority(tmp_path, "other")
    pki.issue_workload(other, tmp_path, "gateway")
    with pytest.raises(ValueError):  # noqa: PT011 - cryptography's words
        read(tmp_path / "gateway.pem").verify_directly_issued_by(authority.certificate)


def test_a_workload_is_issued_a_new_certificate_over_the_old_one(tmp_path: Path, authority: pki.Authority) -> None:
    pki.issue_workload(authority, tmp_path, "gateway")
    before = read(tmp_path / "gateway.pem")
    pki.issue_workload(authority, tmp_path, "gateway")
    after = read(tmp_path / "gateway.pem")
    assert before.serial_number != after.serial_number
    key = serialization.load_pem_private_key((tmp_path / "gateway-key.pem").read_bytes(), None)
    assert key.public_key() == after.public_key()
