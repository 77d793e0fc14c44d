import hashlib
import hmac
import itertools
import json
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm

from mesh.security.signed_jwt import JwtRejected, SigningKey, create_pem, kid_of, public_keys, sign, verify
from tests.unit.mesh.forgery import ALPHABET, encode, es256, forge, unsigned

NOW = 1_000_000
TYP = "test+jwt"
KEY = SigningKey.from_pem(create_pem())
OTHER_KEY = SigningKey.from_pem(create_pem())
KEYS = public_keys({"keys": [KEY.public_jwk()]})
CLAIMS: Mapping[str, object] = {"iss": "issuer", "aud": "audience", "iat": NOW - 10, "exp": NOW + 100, "jti": "1"}
HEADER: Mapping[str, object] = {"alg": "ES256", "typ": TYP, "kid": KEY.kid}
GOOD = sign(KEY, TYP, CLAIMS)


def check(token: str, now: float = NOW) -> dict[str, object]:
    return verify(token, KEYS, typ=TYP, issuer="issuer", audience="audience", now=now)


def public_pem() -> bytes:
    return KEY.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_signed_token_says_what_was_signed() -> None:
    assert check(GOOD) == CLAIMS


def test_the_key_id_is_the_thumbprint_of_the_public_key() -> None:
    jwk = {name: KEY.public_jwk()[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()
    assert kid_of(GOOD) == KEY.kid == encode(hashlib.sha256(canonical).digest())


def test_the_published_key_has_no_private_part() -> None:
    assert KEY.public_jwk().keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, "ES256 ", "es256"])
@pytest.mark.parametrize("sign_by", [unsigned, es256(KEY.key)])
def test_no_algorithm_but_es256_is_accepted(alg: str | None, sign_by: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge({**HEADER, "alg": alg}, CLAIMS, sign_by))  # type: ignore[arg-type]


def test_a_token_without_an_algorithm_is_rejected() -> None:
    with pytest.raises(JwtRejected):
        check(forge({"typ": TYP, "kid": KEY.kid}, CLAIMS, es256(KEY.key)))


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512", "ES256"])
@pytest.mark.parametrize("secret", [public_pem(), public_pem().strip(), json.dumps(KEY.public_jwk()).encode(), b""])
def test_the_public_key_does_not_serve_as_a_secret(alg: str, secret: bytes) -> None:
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(alg, "sha256")
    with pytest.raises(JwtRejected):
        check(forge({**HEADER, "alg": alg}, CLAIMS, lambda signed: hmac.digest(secret, signed, digest)))


@pytest.mark.parametrize("alg", ["RS256", "PS256", "EdDSA", "ES256K", "ES384", "ES512"])
def test_other_asymmetric_algorithms_are_rejected(alg: str) -> None:
    with pytest.raises(JwtRejected):
        check(forge({**HEADER, "alg": alg}, CLAIMS, es256(KEY.key)))


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": OTHER_KEY.public_jwk()},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/chain"},
        {"x5c": ["MIIB"]},
        {"jwk": OTHER_KEY.public_jwk(), "kid": OTHER_KEY.kid},
    ],
)
def test_a_key_that_the_token_brings_along_is_not_used(extra: Mapping[str, object]) -> None:
    with pytest.raises(JwtRejected):
        check(forge({**HEADER, **extra}, CLAIMS, es256(OTHER_KEY.key)))


@pytest.mark.parametrize(
    "kid",
    ["", "unknown", OTHER_KEY.kid, KEY.kid + " ", "../../dev/null", "' OR 1=1", None, 5, [KEY.kid], {}],
    ids=itertools.count(),
)
def test_a_token_of_an_unknown_key_is_rejected(kid: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge({**HEADER, "kid": kid}, CLAIMS, es256(KEY.key)))


def test_a_token_that_names_no_key_is_rejected() -> None:
    with pytest.raises(JwtRejected, match="names no key"):
        check(forge({"alg": "ES256", "typ": TYP}, CLAIMS, es256(KEY.key)))


def test_a_token_of_another_key_under_this_keys_name_is_rejected() -> None:
    with pytest.raises(JwtRejected):
        check(forge(HEADER, CLAIMS, es256(OTHER_KEY.key)))


@pytest.mark.parametrize(
    "signature", [b"", bytes(64), bytes(63), b"\xff" * 64, b"\0" * 31 + b"\1" + b"\0" * 31 + b"\1"]
)
def test_trivial_signatures_are_rejected(signature: bytes) -> None:
    with pytest.raises(JwtRejected):
        check(forge(HEADER, CLAIMS, lambda _: signature))


def test_a_signature_as_der_is_rejected() -> None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - here only

    with pytest.raises(JwtRejected):
        check(forge(HEADER, CLAIMS, lambda signed: KEY.key.sign(signed, ec.ECDSA(hashes.SHA256()))))


@pytest.mark.parametrize("crit", [["exp"], ["unknown"], [], "b64", None, {}, ["b64", "unknown"], [5], ["alg"]])
def test_a_token_with_critical_extensions_is_rejected(crit: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge({**HEADER, "crit": crit, "unknown": True}, CLAIMS, es256(KEY.key)))


def test_a_detached_payload_is_rejected() -> None:
    with pytest.raises(JwtRejected):
        check(forge({**HEADER, "b64": False, "crit": ["b64"]}, CLAIMS, es256(KEY.key)))


@pytest.mark.parametrize(
    "typ",
    ["JWT", "", None, "at+jwt", "test+jwt2", "xtest+jwt", "text/test+jwt", "application/", [TYP], {TYP: 1}, True],
)
def test_a_token_of_another_type_is_rejected(typ: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge({**HEADER, "typ": typ}, CLAIMS, es256(KEY.key)))
    with pytest.raises(JwtRejected):
        check(forge({"alg": "ES256", "kid": KEY.kid}, CLAIMS, es256(KEY.key)))


@pytest.mark.parametrize("name", ["iss", "aud", "iat", "exp", "jti"])
def test_a_token_without_a_required_claim_is_rejected(name: str) -> None:
    without = {claim: value for claim, value in CLAIMS.items() if claim != name}
    for claims in (without, {**CLAIMS, name: None}):
        with pytest.raises(JwtRejected):
            check(sign(KEY, TYP, claims) if claims is without else forge(HEADER, claims, es256(KEY.key)))


@pytest.mark.parametrize("typ", ["Test+JWT", "application/test+jwt", "Application/TEST+jwt"])
def test_a_type_may_have_its_long_form_and_any_case(typ: str) -> None:
    assert check(forge({**HEADER, "typ": typ}, CLAIMS, es256(KEY.key)))


@pytest.mark.parametrize(
    "changes", [{"aud": ["audience"]}, {"iat": NOW - 0.5, "exp": NOW + 0.5, "nbf": float(NOW)}, {"nbf": 0}]
)
def test_a_sole_audience_may_come_in_an_array_and_a_time_may_have_a_fraction(changes: Mapping[str, object]) -> None:
    assert check(forge(HEADER, {**CLAIMS, **changes}, es256(KEY.key)))


@pytest.mark.parametrize("aud", [["audience", "other"], ["audience"] * 2, [["audience"]], [], "", "Audience", 5, {}])
def test_a_token_for_anything_but_this_audience_alone_is_rejected(aud: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge(HEADER, {**CLAIMS, "aud": aud}, es256(KEY.key)))


@pytest.mark.parametrize("iss", ["", "Issuer", "issuer/", "https://issuer"])
def test_a_token_of_another_issuer_is_rejected(iss: str) -> None:
    with pytest.raises(JwtRejected):
        check(forge(HEADER, {**CLAIMS, "iss": iss}, es256(KEY.key)))


@pytest.mark.parametrize("iss", [["issuer"], 5, True, {}, {"issuer": 1}])
def test_a_token_whose_issuer_is_no_text_is_rejected(iss: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge(HEADER, {**CLAIMS, "iss": iss}, es256(KEY.key)))


@pytest.mark.parametrize("jti", [5, True, ["1"], {}])
def test_a_token_whose_id_is_no_text_is_rejected(jti: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge(HEADER, {**CLAIMS, "jti": jti}, es256(KEY.key)))


@pytest.mark.parametrize("name", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("value", [True, False, float("inf"), float("nan"), str(NOW), [NOW], {}])
def test_a_time_that_is_no_number_is_rejected(name: str, value: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge(HEADER, {**CLAIMS, name: value}, es256(KEY.key)))


@pytest.mark.parametrize("exp", [NOW - 5, NOW - 1000, 0, -1, -(10**18)])
def test_an_expired_token_is_rejected(exp: int) -> None:
    with pytest.raises(JwtRejected, match="expired"):
        check(forge(HEADER, {**CLAIMS, "exp": exp}, es256(KEY.key)))


@pytest.mark.parametrize("name", ["iat", "nbf"])
@pytest.mark.parametrize("value", [NOW + 6, NOW + 50, 10**18])
def test_a_token_of_the_future_is_rejected(name: str, value: int) -> None:
    with pytest.raises(JwtRejected, match="not valid yet"):
        check(forge(HEADER, {**CLAIMS, name: value}, es256(KEY.key)))


def test_clocks_may_be_a_few_seconds_apart() -> None:
    assert check(GOOD, NOW + 104.9)
    assert check(GOOD, NOW - 14.9)
    for now in (NOW + 105, NOW - 15.1):
        with pytest.raises(JwtRejected):
            check(GOOD, now)


@pytest.mark.parametrize("payload", [[], "text", 5, None, [CLAIMS]])
def test_a_payload_that_is_no_object_is_rejected(payload: object) -> None:
    with pytest.raises(JwtRejected):
        check(forge(HEADER, payload, es256(KEY.key)))


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b'{"a":' * 900, b'{"a":' + b"1" * 5000 + b"}", b"{", b"null"])
def test_a_payload_that_is_no_json_is_rejected(raw: bytes) -> None:
    signed = f"{encode(json.dumps(HEADER).encode())}.{encode(raw)}"
    with pytest.raises(JwtRejected):
        check(f"{signed}.{encode(es256(KEY.key)(signed.encode()))}")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"5", b"\xff", b"[" * 5000, b'{"a":' * 1000, b"1" * 5000])
def test_a_header_that_is_no_json_object_is_rejected(raw: bytes) -> None:
    with pytest.raises(JwtRejected):
        check(f"{encode(raw)}.{GOOD.partition('.')[2]}")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "Bearer x",
        "\0",
        "é.é.é",
        " " + GOOD,
        GOOD + "\n",
        GOOD + ".",
        "." + GOOD,
        GOOD + "." + GOOD,
    ],
)
def test_garbage_is_rejected(token: str) -> None:
    with pytest.raises(JwtRejected):
        check(token)


@pytest.mark.parametrize("token", ["A" * 1_000_000, "." * 1_000_000, GOOD + "A" * 1_000_000, "A" * 8193])
def test_an_overlong_token_is_rejected_unread(token: str) -> None:
    with pytest.raises(JwtRejected, match="too long"):
        check(token)


def test_a_token_truncated_at_any_length_is_rejected() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(JwtRejected):
            check(GOOD[:length])


def test_a_token_with_any_character_changed_is_rejected() -> None:
    for place, character in enumerate(GOOD):
        # The neighbour in the alphabet, so that in the last place only the unused bits differ.
        other = ALPHABET[ALPHABET.index(character) ^ 1] if character in ALPHABET else "A"
        with pytest.raises(JwtRejected):
            check(GOOD[:place] + other + GOOD[place + 1 :])


def test_the_parts_of_two_tokens_do_not_fit_together() -> None:
    other = sign(KEY, TYP, {**CLAIMS, "jti": "2"})
    header, _, signature = GOOD.split(".")
    with pytest.raises(JwtRejected):
        check(".".join((header, other.split(".")[1], signature)))


def test_a_token_with_padding_is_rejected() -> None:
    with pytest.raises(JwtRejected):
        check(GOOD + "==")


def jwk(**changes: object) -> dict[str, object]:
    return {**KEY.public_jwk(), **changes}


P384: dict[str, object] = {
    **ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True),
    "kid": "a",
}
NAMELESS = {name: value for name, value in KEY.public_jwk().items() if name != "kid"}
OTHER_KINDS = [
    {},
    {"kty": "new"},
    jwk(kty="RSA"),
    jwk(kty="oct", k="AAAA"),
    jwk(crv="P-384"),
    jwk(x=None),
    jwk(x=5),
    jwk(x="!!"),
    jwk(x="AAAA"),
    jwk(x=encode(bytes(32))),
    jwk(crv="secp256k1"),
    jwk(use="enc"),
    jwk(alg="ECDH-ES"),
    jwk(kid=None),
    jwk(kid=5),
    jwk(kid=["a"]),
    NAMELESS,
    P384,
]


def test_a_key_set_gives_its_keys_by_their_ids() -> None:
    assert public_keys({"keys": [KEY.public_jwk(), OTHER_KEY.public_jwk()]}).keys() == {KEY.kid, OTHER_KEY.kid}
    assert public_keys({"keys": []}) == {}


@pytest.mark.parametrize("other", OTHER_KINDS, ids=itertools.count())
def test_keys_of_other_kinds_are_ignored_if_a_good_one_is_left(other: Mapping[str, object]) -> None:
    assert public_keys({"keys": [other, OTHER_KEY.public_jwk()]}).keys() == {OTHER_KEY.kid}
    with pytest.raises(JwtRejected):
        public_keys({"keys": [other]})


@pytest.mark.parametrize(
    "jwks",
    [
        None,
        [],
        {},
        {"keys": None},
        {"keys": 5},
        {"keys": ["text"]},
        {"keys": [None]},
        {"keys": [KEY.public_jwk(), "text"]},
    ],
)
def test_what_is_no_key_set_is_rejected(jwks: Mapping[str, object]) -> None:
    with pytest.raises(JwtRejected):
        public_keys(jwks)


def test_a_private_key_is_rejected_as_a_published_one() -> None:
    private = ECAlgorithm.to_jwk(KEY.key, as_dict=True)
    assert "d" in private
    with pytest.raises(JwtRejected):
        public_keys({"keys": [KEY.public_jwk(), {**private, "kid": "a"}]})


@pytest.mark.parametrize(
    "private_key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())]
)
def test_a_private_key_of_another_kind_is_refused(private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="not a P-256 private key"):
        SigningKey.from_pem(pem)


@pytest.mark.parametrize("pem", [b"", b"garbage", public_pem()])
def test_what_is_no_private_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - cryptography's words
        SigningKey.from_pem(pem)
