import hmac

import pytest

from authserver.errors import InvalidClient
from mesh.errors import Code
from tests.unit.authserver.company import Company


def test_a_client_authenticates_by_its_id_and_secret(company: Company) -> None:
    for credentials in (*company.masters.values(), company.operator):
        found = company.authenticate(credentials.client.client_id, credentials.client_secret)
        assert found == credentials.client


def refusal(company: Company, client_id: str, secret: str) -> tuple[object, ...]:
    with pytest.raises(InvalidClient) as caught:
        company.authenticate(client_id, secret)
    assert caught.value.code is Code.UNAUTHENTICATED
    return caught.value.message, caught.value.metadata, caught.value.reason, caught.value.__cause__


def test_unknown_clients_and_wrong_secrets_are_refused_in_the_same_words(company: Company) -> None:
    shops, stalls = company.masters["shops"], company.masters["stalls"]
    known, secret = shops.client.client_id, shops.client_secret
    first = refusal(company, "cli_unknown", secret)
    for client_id, presented in [
        (known, "wrong"),
        (known, ""),
        (known, secret + " "),
        (known, "é" * 100_000),
        (known, stalls.client_secret),
        (known.upper(), secret),
        (known + "\0", secret),
        (known + " ", secret),
        ("%", secret),
        ("", secret),
        ("", ""),
        ("' OR '1'='1", "' OR '1'='1"),
        ("x" * 1_000_000, secret),
    ]:
        assert refusal(company, client_id, presented) == first


def test_an_unknown_client_costs_the_same_comparison_as_a_wrong_secret(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    compare = hmac.compare_digest

    def recording(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recording)
    for client_id in (company.operator.client.client_id, "cli_unknown"):
        refusal(company, client_id, "wrong")
    assert compared == [(32, 32)] * 2
