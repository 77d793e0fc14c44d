"""The tokens that an attacker would make of a good one."""

import base64
import hmac
import json
from collections.abc import Callable, Iterator, Mapping

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mesh.security.signed_jwt import SigningKey, create_pem
from tests.unit.authserver.company import NOW
from tests.unit.mesh.forgery import ALPHABET, encode, es256, forge, unsigned

ISSUED = int(NOW)
ATTACKER = SigningKey.from_pem(create_pem())

Claims = Mapping[str, object]
Forge = Callable[[SigningKey, str, Claims], str]
Signer = Callable[[bytes], bytes]


def header(key: SigningKey, typ: str, /, **changes: object) -> dict[str, object]:
    return {"alg": "ES256", "typ": typ, "kid": key.kid, **changes}


def by(signer: Callable[[SigningKey], Signer], **changes: object) -> Forge:
    """Forge a token with changes in its header, signed in some way."""
    return lambda key, typ, claims: forge(header(key, typ, **changes), claims, signer(key))


def well_signed(**changes: object) -> Forge:
    """Make a token with changes in its header that the right key has signed."""
    return by(lambda key: es256(key.key), **changes)


def by_attacker(**changes: object) -> Forge:
    return by(lambda _: es256(ATTACKER.key), **changes)


def not_signed(**changes: object) -> Forge:
    return by(lambda _: unsigned, **changes)


def claiming(**changes: object) -> Forge:
    """Make a token with changes in its claims that the right key has signed; None takes a claim away."""

    def make(key: SigningKey, typ: str, claims: Claims) -> str:
        changed = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return forge(header(key, typ), changed, es256(key.key))

    return make


PUBLIC_KEY_AS = {
    "PEM": (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "DER": (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "a point": (Encoding.X962, PublicFormat.UncompressedPoint),
}


def with_public_key_as_secret(digest: str, form: str, alg: str) -> Forge:
    def signer(key: SigningKey) -> Signer:
        secret = key.key.public_key().public_bytes(*PUBLIC_KEY_AS[form])
        return lambda signed: hmac.digest(secret, signed, digest)

    return by(signer, alg=alg)


def with_jwk_as_secret(key: SigningKey, typ: str, claims: Claims) -> str:
    secret = json.dumps(key.public_jwk()).encode()
    return forge(header(key, typ, alg="HS256"), claims, lambda signed: hmac.digest(secret, signed, "sha256"))


def of_a_megabyte(key: SigningKey, typ: str, claims: Claims) -> str:
    return forge(header(key, typ), {**claims, "padding": "a" * 1_000_000}, es256(key.key))


HOSTILE: dict[str, Forge] = {
    **{f"alg {alg!r}, unsigned": not_signed(alg=alg) for alg in ("none", "None", "NONE", "nOnE", "", None)},
    **{f"alg {alg!r}, signed": well_signed(alg=alg) for alg in ("none", "NONE", "HS256", "ES384", "RS256", "es256")},
    **{
        f"{alg} with the public key as {form}": with_public_key_as_secret(digest, form, alg)
        for alg, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512"), ("ES256", "sha256"))
        for form in PUBLIC_KEY_AS
    },
    "HS256 with the JWK": with_jwk_as_secret,
    "an embedded jwk": by_attacker(jwk=ATTACKER.public_jwk()),
    "an embedded jwk with its own kid": by_attacker(jwk=ATTACKER.public_jwk(), kid=ATTACKER.kid),
    "jku": by_attacker(jku="https://attacker.example/keys"),
    "x5u": by_attacker(x5u="https://attacker.example/chain"),
    "x5c": by_attacker(x5c=[base64.b64encode(b"certificate").decode()]),
    "another key": by_attacker(),
    "another key of another name": by_attacker(kid=ATTACKER.kid),
    **{
        f"crit {crit!r}": well_signed(crit=crit, unknown=True)
        for crit in (["unknown"], ["exp"], ["b64"], [], "unknown", None)
    },
    **{
        f"kid {kid!r}"[:40]: well_signed(kid=kid)
        for kid in (
            "../../../../dev/null",
            "/etc/passwd",
            "file:///etc/passwd",
            "' OR '1'='1",
            "x'; DROP TABLE keys; --",
            "1 UNION SELECT material FROM keys",
            "1",
            "%00",
            "\0",
            "",
            None,
            1,
            ["1"],
            {"$ne": ""},
            "a" * 5000,
        )
    },
    **{f"typ {typ!r}": well_signed(typ=typ) for typ in ("JWT", "at+jwt", "", None, 1, ["pat+jwt"])},
    **{f"no {name}": claiming(**{name: None}) for name in ("iss", "aud", "iat", "exp", "jti")},
    "expired": claiming(exp=ISSUED - 5),
    "expired since ever": claiming(exp=0),
    "expires as a text": claiming(exp=str(ISSUED + 300)),
    "never expires": claiming(exp=float("inf")),
    "issued in the future": claiming(iat=ISSUED + 6),
    "not good yet": claiming(nbf=ISSUED + 6),
    "another audience": claiming(aud="somebody.example"),
    "several audiences": claiming(aud=["payments", "authserver"]),
    "no audience at all": claiming(aud=[]),
    "another issuer": claiming(iss="somebody.example"),
    "a megabyte": of_a_megabyte,
}


def variations(token: str) -> Iterator[str]:
    """Return a token truncated at every length, and with every character changed, one at a time."""
    for place, character in enumerate(token):
        yield token[:place]
        other = ALPHABET[ALPHABET.index(character) ^ 1] if character in ALPHABET else "A"
        yield token[:place] + other + token[place + 1 :]


def raw_variations(sealed: str) -> Iterator[str]:
    """Return a sealed token with its bytes cut at every length, and with every byte changed, one at a time."""
    body = sealed.removeprefix("sat_")
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    for place, byte in enumerate(raw):
        yield "sat_" + encode(raw[:place])
        for changed in (byte ^ 1, byte ^ 0x80, byte ^ 0xFF):
            yield "sat_" + encode(raw[:place] + bytes([changed]) + raw[place + 1 :])
