import base64

import pytest

from authserver.clients.assertions import AssertionRejected, client_id_of, verify_assertion
from authserver.clients.authentication_method import ClientAuthentication
from tests.unit.authserver.assertions import (
    BY_BOTH,
    BY_EC,
    CLIENT_ID,
    EC_JWK,
    HOSTILE,
    NEXT_JWK,
    NEXT_KEY,
    NOW_S,
    assertion,
    by_keys,
    rs256,
)
from tests.unit.authserver.company import ISSUER, NOW, TOKEN_URL
from tests.unit.mesh.forgery import es256

BOTH_AUDIENCES = frozenset({ISSUER, TOKEN_URL})


def verify(
    token: str, authentication: ClientAuthentication = BY_BOTH, audiences: frozenset[str] = BOTH_AUDIENCES
) -> tuple[bytes, int]:
    found = verify_assertion(token, authentication.keys, client_id=CLIENT_ID, audiences=audiences, now=NOW)
    return found.jti_digest, found.expire_time


@pytest.mark.parametrize(
    "good",
    [
        assertion(),
        assertion(header={"alg": "RS256", "kid": "rsa"}, sign=rs256),
        assertion(header={"kid": None, "typ": "JWT"}),
        assertion(header={"typ": "application/jwt"}),
        assertion(header={"typ": "client-authentication+jwt"}),
        assertion(header={"typ": "application/Client-Authentication+JWT"}),
        assertion(aud=TOKEN_URL),
        assertion(aud=[ISSUER]),
        assertion(iat=None),
        assertion(exp=NOW_S + 3600),
        assertion(exp=NOW_S + 60.5, nbf=NOW_S - 0.5),
        assertion(exp=NOW_S - 29, iat=NOW_S + 30),
        assertion(jti="a" * 255),
        assertion(jti="é"),
    ],
)  # fmt: skip
def test_what_client_libraries_make_holds(good: str) -> None:
    assert client_id_of(good) == CLIENT_ID
    verify(good)


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_assertion_proves_nothing(hostile: str) -> None:
    assert client_id_of(hostile) in {"", CLIENT_ID, "cli_2"}
    with pytest.raises(AssertionRejected):
        verify(hostile)


def test_no_assertion_holds_for_a_client_without_keys() -> None:
    for token in (assertion(), assertion(header={"alg": "RS256", "kid": "rsa"}, sign=rs256)):
        with pytest.raises(AssertionRejected):
            verify(token, ClientAuthentication())


def test_each_key_signs_by_its_own_algorithm_and_under_its_own_name() -> None:
    two = by_keys(EC_JWK, NEXT_JWK)
    verify(assertion(header={"kid": "next"}, sign=es256(NEXT_KEY)), two)
    verify(assertion(header={"kid": None}, sign=es256(NEXT_KEY)), two)
    with pytest.raises(AssertionRejected):
        verify(assertion(header={"kid": "ec"}, sign=es256(NEXT_KEY)), two)
    nameless = by_keys({name: value for name, value in EC_JWK.items() if name != "kid"})
    verify(assertion(header={"kid": "whatever"}), nameless)


def test_the_issuer_alone_may_be_named_if_the_server_is_strict() -> None:
    verify(assertion(), audiences=frozenset({ISSUER}))
    with pytest.raises(AssertionRejected):
        verify(assertion(aud=TOKEN_URL), audiences=frozenset({ISSUER}))


def test_an_assertion_is_remembered_until_it_would_be_refused_as_expired() -> None:
    expire_time = verify(assertion(exp=NOW_S + 60.5))[1]
    args = {"client_id": CLIENT_ID, "audiences": BOTH_AUDIENCES}
    token = assertion(exp=NOW_S + 60.5)
    verify_assertion(token, BY_EC.keys, **args, now=expire_time / 1000 - 0.001)
    with pytest.raises(AssertionRejected):
        verify_assertion(token, BY_EC.keys, **args, now=expire_time / 1000)


def test_the_jti_alone_tells_assertions_apart() -> None:
    digest = verify(assertion())[0]
    assert len(digest) == 32
    assert verify(assertion(exp=NOW_S + 90))[0] == digest
    assert verify(assertion(jti="J1"))[0] != digest


@pytest.mark.parametrize("changed", range(3))
def test_an_assertion_with_any_part_changed_proves_nothing(changed: int) -> None:
    parts, other = assertion().split("."), assertion(jti="j2", header={"kid": None}).split(".")
    parts[changed] = other[changed]
    with pytest.raises(AssertionRejected):
        verify(".".join(parts))


def test_json_that_is_too_deep_is_no_assertion() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 3000 + b"]" * 3000).rstrip(b"=").decode()
    for token in (f"{deep}.e30.AA", f"eyJhbGciOiJFUzI1NiJ9.{deep}.AA"):
        assert client_id_of(token) == ""
        with pytest.raises(AssertionRejected):
            verify(token)


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_an_unknown_client_costs_as_much_as_a_wrong_signature(alg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from jwt.algorithms import ECAlgorithm, RSAAlgorithm  # noqa: PLC0415 - for this test alone

    tried: list[str] = []
    for algorithm in (ECAlgorithm, RSAAlgorithm):

        def verifying(self: object, *_: object) -> bool:
            tried.append(type(self).__name__)
            return False

        monkeypatch.setattr(algorithm, "verify", verifying)
    kid = {"ES256": "ec", "RS256": "rsa"}[alg]
    for authentication in (BY_BOTH, ClientAuthentication()):
        with pytest.raises(AssertionRejected):
            verify(assertion(header={"alg": alg, "kid": kid}), authentication)
    assert tried == [{"ES256": "ECAlgorithm", "RS256": "RSAAlgorithm"}[alg]] * 2
