import hmac

import pytest

from authserver.errors import InvalidClient, TooManyFailures
from mesh.errors import Code
from tests.databases import statements
from tests.unit.authserver.company import Company, Replica


async def test_a_client_authenticates_by_its_id_and_secret(company: Company) -> None:
    for credentials in (*company.masters.values(), company.operator):
        found = await company.authenticate(credentials.client.client_id, credentials.client_secret)
        assert found == credentials.client


async def refusal(company: Company, client_id: str, secret: str) -> tuple[object, ...]:
    with pytest.raises(InvalidClient) as caught:
        await company.authenticate(client_id, secret)
    assert caught.value.code is Code.UNAUTHENTICATED
    return caught.value.message, caught.value.metadata, caught.value.reason, caught.value.__cause__


async def test_unknown_clients_and_wrong_secrets_are_refused_in_the_same_words(company: Company) -> None:
    shops, stalls = company.masters["shops"], company.masters["stalls"]
    known, secret = shops.client.client_id, shops.client_secret
    first = await refusal(company, "cli_unknown", secret)
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
        assert await refusal(company, client_id, presented) == first


async def test_an_unknown_client_costs_the_same_comparison_as_a_wrong_secret(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    compare = hmac.compare_digest

    def recording(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recording)
    for client_id in (company.operator.client.client_id, "cli_unknown"):
        await refusal(company, client_id, "wrong")
    assert compared == [(32, 32)] * 2


def slow(company: Company) -> Replica:
    """A replica that answers two failures, and then one in six seconds."""
    return Replica(company, failures_at_once=2)


async def outcomes(company: Company, *attempts: tuple[str, str, str]) -> list[tuple[str, str, float]]:
    """Attempt to authenticate, one after another, with id, secret and address; return reasons, words and waits."""

    replica = slow(company)

    async def attempt(client_id: str, secret: str, address: str) -> tuple[str, str, float]:
        try:
            client = await replica.authenticate(client_id, secret, address)
        except (InvalidClient, TooManyFailures) as error:
            return error.reason, error.message, error.retry_seconds
        return "OK", client.client_id, 0

    return [await attempt(*each) for each in attempts]


async def test_who_fails_often_is_told_when_to_come_again_whether_the_client_is_known_or_not(company: Company) -> None:
    known = company.operator.client.client_id
    told = [await outcomes(company, *[(client_id, "wrong", "10.0.0.1")] * 4) for client_id in (known, "cli_unknown")]
    assert [reason for reason, _, _ in told[0]] == ["INVALID_CLIENT"] * 2 + ["TOO_MANY_FAILURES"] * 2
    for one, other in zip(*told, strict=True):
        assert one[:2] == other[:2]
        assert one[2] == pytest.approx(other[2], abs=3)
    assert 0 < told[0][-1][2] <= 6


async def test_the_right_secret_passes_however_often_others_failed(company: Company) -> None:
    client_id, secret = company.operator.client.client_id, company.operator.client_secret
    failure, success = (client_id, "wrong", "10.0.0.1"), (client_id, secret, "10.0.0.1")
    told = await outcomes(company, success, *[failure] * 10, success, failure, success)
    assert told[-3] == told[-1] == told[0] == ("OK", client_id, 0)
    assert told[-2][0] == "TOO_MANY_FAILURES"


async def test_successes_are_never_throttled_and_hide_no_failure(company: Company) -> None:
    client_id, secret = company.operator.client.client_id, company.operator.client_secret
    failure, success = (client_id, "wrong", "10.0.0.1"), (client_id, secret, "10.0.0.1")
    told = await outcomes(company, *[success] * 20, failure, success, failure, success, failure)
    assert [reason for reason, _, _ in told if reason != "OK"] == ["INVALID_CLIENT"] * 2 + ["TOO_MANY_FAILURES"]


async def test_an_unknown_client_costs_the_same_statements_as_a_wrong_secret_throttled_or_not(company: Company) -> None:
    replica, known, seen = slow(company), company.operator.client.client_id, []
    for client_id in ("cli_unknown", known, known) * 4:  # known: from the database first, then from memory too
        await replica.feed.follow()
        with statements(company.database) as sent, pytest.raises((InvalidClient, TooManyFailures)):
            await replica.authenticate(client_id, "wrong", "10.0.0.1")
        seen.append(sent)
    assert seen[0]
    assert all(each == seen[0] for each in seen)
