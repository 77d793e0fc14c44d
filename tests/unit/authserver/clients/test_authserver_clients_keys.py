import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from authserver.clients.authentication_method import BY_SECRET, AuthMethod, parse_authentication
from authserver.clients.keys import ALGORITHMS, parse_keys
from authserver.errors import InvalidClientMetadata
from tests.unit.authserver.assertions import EC_JWK, EC_KEY, NEXT_JWK, RSA_JWK, RSA_KEY, by_keys, ec_jwk


def keys(*jwks: object) -> str:
    return json.dumps({"keys": jwks})


def rsa_of(n: int, e: int = 65537) -> dict[str, Any]:
    def encode(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()

    return {"kty": "RSA", "n": encode(n), "e": encode(e)}


def p384() -> dict[str, Any]:
    return dict(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True))


def private_rsa() -> dict[str, Any]:
    return dict(RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True))


N = RSA_KEY.public_key().public_numbers().n
BAD: dict[str, str] = {
    "nothing": "",
    "no JSON": "keys",
    "null": "null",
    "a list": json.dumps([EC_JWK]),
    "no keys": "{}",
    "an empty set": keys(),
    "keys that are no list": json.dumps({"keys": EC_JWK}),
    "a key that is no object": keys("ES256"),
    "six keys": keys(*[ec_jwk(EC_KEY, kid=str(number)) for number in range(6)]),
    "what is huge": json.dumps({"keys": [EC_JWK], "padding": "a" * 20_000}),
    "what is deep": "[" * 8000 + "]" * 8000,
    "two keys of one name": keys(EC_JWK, {**NEXT_JWK, "kid": "ec"}),
    "a malformed key beside a good one": keys(EC_JWK, {**NEXT_JWK, "y": EC_JWK["x"]}),
    "a private key beside a good one": keys(EC_JWK, dict(ECAlgorithm.to_jwk(EC_KEY, as_dict=True))),
    "a symmetric key beside a good one": keys(EC_JWK, {"kty": "oct", "k": "c2VjcmV0"}),
    "a text beside a good one": keys(EC_JWK, "key"),
    "a private EC key": keys(dict(ECAlgorithm.to_jwk(EC_KEY, as_dict=True))),
    "a private RSA key": keys(private_rsa()),
    "a d that is empty": keys({**EC_JWK, "d": ""}),
    **{f"a secret member {name}": keys({**RSA_JWK, name: "AQAB"}) for name in ("p", "q", "dp", "dq", "qi", "oth", "k")},
    "a symmetric key": keys({"kty": "oct", "k": "c2VjcmV0"}),
    "a point that is not on the curve": keys({**EC_JWK, "y": EC_JWK["x"]}),
    "coordinates that are missing": keys({"kty": "EC", "crv": "P-256"}),
    **{f"x {x!r}"[:30]: keys({**EC_JWK, "x": x}) for x in ("", "*", 1, None, [], "A" * 5000)},
    "an RSA key with an exponent of 1": keys(rsa_of(N, 1)),
    "an RSA key without n": keys({"kty": "RSA", "e": "AQAB"}),
    **{f"kid {kid!r}"[:30]: keys({**EC_JWK, "kid": kid}) for kid in (1, None, "a" * 101, "a\0b", "\ud800")},
}  # fmt: skip


@pytest.mark.parametrize("jwks", BAD.values(), ids=BAD)
def test_a_set_of_other_than_a_few_good_public_keys_is_refused(jwks: str) -> None:
    with pytest.raises(InvalidClientMetadata):
        parse_authentication("private_key_jwt", jwks)


OF_OTHER_KINDS: dict[str, dict[str, Any]] = {
    "another curve": p384(),
    "another curve by its name alone": {**EC_JWK, "crv": "P-384"},
    "Ed25519": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    "a type that is yet to be": {"kty": "new", "kid": "ec"},
    "no kty": {name: value for name, value in EC_JWK.items() if name != "kty"},
    "a kty that is no text": {**EC_JWK, "kty": ["EC"]},
    "an RSA key of 1024 bits": rsa_of(2**1023 + 1),
    "an RSA key of 2047 bits": rsa_of(2**2046 + 1),
    "an RSA key of 8192 bits": rsa_of(2**8191 + 1),
    "an RSA key with a huge exponent": rsa_of(N, 2**64 + 1),
    "for encryption": {**EC_JWK, "use": "enc"},
    "for encryption by RSA": {**RSA_JWK, "use": "enc", "alg": "RSA-OAEP-256"},
    "for other operations": {**EC_JWK, "key_ops": ["deriveKey"]},
    "operations that are no list": {**EC_JWK, "key_ops": "verify"},
    **{f"alg {alg!r}": {**EC_JWK, "alg": alg} for alg in ("RS256", "none", "HS256", "ES384", 1, None)},
    "PS256": {**RSA_JWK, "alg": "PS256"},
}


@pytest.mark.parametrize("other", OF_OTHER_KINDS.values(), ids=OF_OTHER_KINDS)
def test_a_key_of_another_kind_is_ignored_if_a_good_one_is_left(other: dict[str, Any]) -> None:
    assert by_keys(other, NEXT_JWK, other).jwks == by_keys(NEXT_JWK).jwks
    with pytest.raises(InvalidClientMetadata, match="it has 0"):
        parse_authentication("private_key_jwt", keys(other))


def test_keys_that_are_ignored_do_not_count() -> None:
    good = [ec_jwk(EC_KEY, kid=str(number)) for number in range(5)]
    assert len(by_keys(*good, *OF_OTHER_KINDS.values()).keys) == 5


def test_keys_of_two_algorithms_may_have_one_name() -> None:
    assert [key.alg for key in by_keys({**EC_JWK, "kid": "1"}, {**RSA_JWK, "kid": "1"}).keys] == ["ES256", "RS256"]


def test_what_is_kept_of_keys_is_what_verifies_and_nothing_else() -> None:
    given = by_keys({**EC_JWK, "x5c": ["AAAA"], "note": "mine", "key_ops": ["verify"]}, {**RSA_JWK, "kid": ""})
    first, second = json.loads(given.jwks)["keys"]
    assert first == {**{name: EC_JWK[name] for name in ("kty", "crv", "x", "y", "kid")}, "use": "sig", "alg": "ES256"}
    assert second == {**{name: RSA_JWK[name] for name in ("kty", "n", "e")}, "use": "sig", "alg": "RS256"}
    assert parse_keys(given.jwks) == given.keys
    assert tuple(key.alg for key in given.keys) == ALGORITHMS


def test_the_largest_set_that_is_taken_can_be_read_again() -> None:
    largest = by_keys(*[{**rsa_of(2**4095 + 2 * number + 1), "kid": "é" * 90 + str(number)} for number in range(5)])
    assert parse_keys(largest.jwks) == largest.keys


def test_rsa_keys_of_2048_to_4096_bits_are_taken() -> None:
    for bits in (2048, 3072, 4096):
        assert by_keys(rsa_of(2 ** (bits - 1) + 1, 3)).keys[0].alg == "RS256"


def test_a_secret_is_the_default() -> None:
    assert parse_authentication("", "") == BY_SECRET
    assert parse_authentication("client_secret_post", "").method is AuthMethod.CLIENT_SECRET_POST
    assert (BY_SECRET.jwks, BY_SECRET.has_secret, by_keys(EC_JWK).has_secret) == ("", True, False)


@pytest.mark.parametrize(
    ("method", "jwks", "jwks_uri", "words"),
    [
        ("none", "", "", "must be one of client_secret_basic, client_secret_post, private_key_jwt"),
        ("client_secret_jwt", "", "", "must be one of"),
        ("tls_client_auth", "", "", "must be one of"),
        ("PRIVATE_KEY_JWT", keys(EC_JWK), "", "must be one of"),
        ("client_secret_basic", keys(EC_JWK), "", "a secret has no keys"),
        ("", keys(EC_JWK), "", "a secret has no keys"),
        ("private_key_jwt", "", "", "needs jwks"),
        ("private_key_jwt", "", "https://client.example/jwks", "fetches nothing"),
        ("private_key_jwt", keys(EC_JWK), "https://client.example/jwks", "fetches nothing"),
    ],
)
def test_methods_that_are_not_supported_are_refused_with_the_reason(
    method: str, jwks: str, jwks_uri: str, words: str
) -> None:
    with pytest.raises(InvalidClientMetadata, match=words):
        parse_authentication(method, jwks, jwks_uri)
