import hmac
import json
from collections.abc import Mapping

import pytest

from authserver.clients.software_statements import TYP, SoftwareStatement, StatementIssuer, verify_statement
from authserver.errors import InvalidSoftwareStatement
from mesh.security.signed_jwt import SigningKey, create_pem, public_keys, sign
from tests.unit.mesh.forgery import ALPHABET, es256, forge, unsigned

NOW = 1_800_000_000
PAYMENTS, BANK, STRANGER = (SigningKey.from_pem(create_pem()) for _ in range(3))
ISSUERS = tuple(
    StatementIssuer(iss, public_keys({"keys": [key.public_jwk()]}))
    for iss, key in (("payments", PAYMENTS), ("bank", BANK))
)
CLAIMS: Mapping[str, object] = {
    "iss": "payments",
    "aud": "authserver",
    "iat": NOW - 10,
    "exp": NOW + 86_400,
    "jti": "app_1",
    "partner_id": "ptr_1",
    "platform_id": "shops",
}
HEADER: Mapping[str, object] = {"alg": "ES256", "typ": TYP, "kid": PAYMENTS.kid}
GOOD = sign(PAYMENTS, TYP, CLAIMS)


def verify(statement: str, now: float = NOW) -> SoftwareStatement:
    return verify_statement(statement, ISSUERS, "authserver", now)


def refuse(statement: str, now: float = NOW) -> None:
    with pytest.raises(InvalidSoftwareStatement) as caught:
        verify(statement, now)
    assert caught.value.reason == "INVALID_SOFTWARE_STATEMENT"


def signed(key: SigningKey = PAYMENTS, typ: str = TYP, **changes: object) -> str:
    return sign(key, typ, {**CLAIMS, **changes})


def test_a_statement_says_who_was_approved_for_whom() -> None:
    assert verify(GOOD) == SoftwareStatement("payments", "app_1", "ptr_1", "shops")


def test_a_statement_may_be_written_in_each_way_that_the_rfcs_allow() -> None:
    claims = {**CLAIMS, "aud": ["authserver"], "iat": NOW - 0.5, "exp": NOW + 60.5}
    header = {**HEADER, "typ": f"application/{TYP.upper()}"}
    assert verify(forge(header, claims, es256(PAYMENTS.key))) == verify(GOOD)


def test_each_issuer_signs_with_its_own_key() -> None:
    assert verify(signed(BANK, iss="bank")).iss == "bank"


@pytest.mark.parametrize(
    ("key", "iss"),
    [(BANK, "payments"), (PAYMENTS, "bank"), (PAYMENTS, "stranger"), (STRANGER, "payments"), (STRANGER, "stranger")],
)
def test_a_statement_signed_with_anothers_key_is_refused(key: SigningKey, iss: str) -> None:
    refuse(signed(key, iss=iss))


@pytest.mark.parametrize("iss", ["payments", "bank"])
def test_a_key_under_the_name_of_another_is_refused(iss: str) -> None:
    for kid in (PAYMENTS.kid, BANK.kid):
        refuse(forge({**HEADER, "kid": kid}, {**CLAIMS, "iss": iss}, es256(STRANGER.key)))
    refuse(forge({**HEADER, "kid": PAYMENTS.kid}, CLAIMS, es256(BANK.key)))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS256", "RS256", "ES384", "", None])
def test_another_algorithm_is_refused(alg: str | None) -> None:
    refuse(forge({**HEADER, "alg": alg}, CLAIMS, unsigned))
    secret = json.dumps(PAYMENTS.public_jwk()).encode()
    refuse(forge({**HEADER, "alg": alg}, CLAIMS, lambda text: hmac.digest(secret, text, "sha256")))


@pytest.mark.parametrize(
    "extra",
    [{"jwk": STRANGER.public_jwk()}, {"jku": "https://x.example"}, {"x5u": "https://x.example"}, {"crit": ["exp"]}],
)
def test_headers_that_bring_keys_or_unknown_duties_are_refused(extra: Mapping[str, object]) -> None:
    refuse(forge({**HEADER, **extra}, CLAIMS, es256(STRANGER.key)))
    if "crit" in extra:
        refuse(forge({**HEADER, **extra}, CLAIMS, es256(PAYMENTS.key)))


@pytest.mark.parametrize("typ", ["JWT", "pat+jwt", "", "software-statement"])
def test_a_token_of_another_type_is_refused(typ: str) -> None:
    refuse(signed(typ=typ))


@pytest.mark.parametrize("aud", ["payments", "authserver2", ["authserver", "payments"], "", None])
def test_a_statement_for_another_server_is_refused(aud: object) -> None:
    refuse(forge(HEADER, {**CLAIMS, "aud": aud}, es256(PAYMENTS.key)))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 5},
        {"iat": NOW + 6},
        {"nbf": NOW + 60},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": [NOW + 60]},
        {"exp": str(NOW + 60)},
        {"iat": False},
        {"exp": None},
        {"iat": None},
    ],
)
def test_a_statement_that_is_not_good_now_is_refused(changes: Mapping[str, object]) -> None:
    refuse(forge(HEADER, {**CLAIMS, **changes}, es256(PAYMENTS.key)))


@pytest.mark.parametrize("name", ["iss", "aud", "iat", "exp", "jti", "partner_id", "platform_id"])
def test_a_statement_without_a_claim_is_refused(name: str) -> None:
    refuse(sign(PAYMENTS, TYP, {claim: value for claim, value in CLAIMS.items() if claim != name}))


@pytest.mark.parametrize("name", ["jti", "partner_id", "platform_id"])
@pytest.mark.parametrize("value", ["", "a" * 65, 5, True, None, ["ptr_1"], {"a": 1}])
def test_an_id_that_is_no_short_text_is_refused(name: str, value: object) -> None:
    refuse(forge(HEADER, {**CLAIMS, name: value}, es256(PAYMENTS.key)))


def test_a_statement_with_any_character_changed_or_truncated_is_refused() -> None:
    for place, character in enumerate(GOOD):
        other = ALPHABET[ALPHABET.index(character) ^ 1] if character in ALPHABET else "A"
        refuse(GOOD[:place] + other + GOOD[place + 1 :])
        refuse(GOOD[:place])


@pytest.mark.parametrize(
    "statement", ["", "a.b.c", "sat_AAAA", "\0", "é", "A" * 1_000_000, GOOD + "A" * 1_000_000, "..", "{}"]
)
def test_garbage_is_refused(statement: str) -> None:
    refuse(statement)


def test_without_issuers_nothing_is_an_approval() -> None:
    with pytest.raises(InvalidSoftwareStatement):
        verify_statement(GOOD, (), "authserver", NOW)
