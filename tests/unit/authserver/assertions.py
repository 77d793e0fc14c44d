"""Clients with keys of their own, the assertions that they make, and those that an attacker would make."""

import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from authserver.clients.authentication_method import ClientAuthentication, parse_authentication
from tests.unit.authserver.company import ISSUER, NOW
from tests.unit.mesh.forgery import es256, forge, unsigned

EC_KEY, NEXT_KEY, ATTACKER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
RSA_KEY = rsa.generate_private_key(65537, 2048)
CLIENT_ID = "cli_1"

Signer = Callable[[bytes], bytes]
BY_EC_KEY = es256(EC_KEY)
ATTACKERS = es256(ATTACKER)
Claims = Mapping[str, object]


def ec_jwk(key: ec.EllipticCurvePrivateKey, **members: object) -> dict[str, Any]:
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), **members}


def rsa_jwk(key: rsa.RSAPrivateKey, **members: object) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), **members}


def by_keys(*jwks: Mapping[str, Any]) -> ClientAuthentication:
    return parse_authentication("private_key_jwt", json.dumps({"keys": jwks}))


EC_JWK, NEXT_JWK, RSA_JWK = ec_jwk(EC_KEY, kid="ec"), ec_jwk(NEXT_KEY, kid="next"), rsa_jwk(RSA_KEY, kid="rsa")
BY_EC, BY_BOTH = by_keys(EC_JWK), by_keys(EC_JWK, RSA_JWK)


def rs256(signed: bytes, key: rsa.RSAPrivateKey = RSA_KEY) -> bytes:
    return RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed, key)


def claims_of(client_id: str = CLIENT_ID, now: float = NOW, **changes: object) -> dict[str, object]:
    """Return what a client claims; None takes a claim away."""
    claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "exp": int(now) + 60, "iat": int(now), "jti": "j1"}
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def assertion(
    client_id: str = CLIENT_ID,
    *,
    header: Mapping[str, object] | None = None,
    sign: Signer = BY_EC_KEY,
    **changes: object,
) -> str:
    """Return an assertion with changes in header and claims; None takes something away."""
    changed = {"alg": "ES256", "kid": "ec", **(header or {})}
    changed = {name: value for name, value in changed.items() if value is not None}
    return forge(changed, claims_of(client_id, **changes), sign)


def hs256(secret: bytes) -> str:
    return assertion(header={"alg": "HS256"}, sign=lambda signed: hmac.digest(secret, signed, "sha256"))


PUBLIC = EC_KEY.public_key()
ALGS = ("none", "None", "NONE", "nOnE", "", None)
OTHER_ALGS = ("none", "HS256", "ES384", "RS256", "PS256", "EdDSA", "es256", 1, ["ES256"], {})
CRITS = (["unknown"], ["exp"], [], "unknown")
KIDS = ("", "../../dev/null", "' OR 1=1", "\0", 1, ["ec"], {}, "a" * 5000)
TYPES = ("pat+jwt", "software-statement+jwt", "at+jwt", "application/at+jwt", "text/jwt", "application/", 1, ["JWT"])


NOW_S = int(NOW)
HOSTILE: dict[str, str] = {
    **{f"alg {alg!r}, unsigned": assertion(header={"alg": alg}, sign=unsigned) for alg in ALGS},
    **{f"alg {alg!r}, signed": assertion(header={"alg": alg}) for alg in OTHER_ALGS},
    "HS256 with the public key as PEM": hs256(PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    "HS256 with the public key as a point": hs256(PUBLIC.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)),
    "HS256 with the JWK": hs256(json.dumps(EC_JWK).encode()),
    "an RSA key that signs as ES256": assertion(sign=rs256),
    "an RSA key under the name of the other": assertion(header={"alg": "RS256"}, sign=rs256),
    "an embedded jwk": assertion(header={"jwk": ec_jwk(ATTACKER)}, sign=ATTACKERS),
    "an embedded jwk with its own kid": assertion(header={"jwk": ec_jwk(ATTACKER), "kid": "x"}, sign=ATTACKERS),
    "jku": assertion(header={"jku": "https://attacker.example/keys"}, sign=ATTACKERS),
    "x5u": assertion(header={"x5u": "https://attacker.example/chain"}, sign=ATTACKERS),
    "x5c": assertion(header={"x5c": ["AAAA"]}, sign=ATTACKERS),
    "another key": assertion(sign=ATTACKERS),
    "another key without a name": assertion(header={"kid": None}, sign=ATTACKERS),
    "not signed at all": assertion(sign=unsigned),
    **{f"crit {crit!r}": assertion(header={"crit": crit, "unknown": 1}) for crit in CRITS},
    **{f"kid {kid!r}"[:30]: assertion(header={"kid": kid}) for kid in KIDS},
    **{f"typ {typ!r}": assertion(header={"typ": typ}) for typ in TYPES},
    **{f"no {name}": assertion(**{name: None}) for name in ("iss", "sub", "aud", "exp", "jti")},
    "iss of another": assertion(iss="cli_2"),
    "sub of another": assertion(sub="cli_2"),
    "both of another": assertion(iss="cli_2", sub="cli_2"),
    "iss and sub as lists": assertion(iss=[CLIENT_ID], sub=[CLIENT_ID]),
    "sub that is no text": assertion(iss=1, sub=1),
    "several aud": assertion(aud=[ISSUER, "https://other.example"]),
    "several aud, all the server's": assertion(aud=[ISSUER, ISSUER]),
    "aud in a list in a list": assertion(aud=[[ISSUER]]),
    "aud of another server in a list": assertion(aud=["https://other.example"]),
    "aud of another server": assertion(aud="https://other.example"),
    "aud with a slash more": assertion(aud=ISSUER + "/"),
    "aud in capitals": assertion(aud=ISSUER.upper()),
    **{f"aud {aud!r}": assertion(aud=aud) for aud in ("", [], {}, 1, True)},
    "expired": assertion(exp=NOW_S - 30),
    "expired since ever": assertion(exp=0),
    "good for too long": assertion(exp=NOW_S + 3631),
    "good for ever": assertion(exp=10**400),
    **{f"exp {exp!r}": assertion(exp=exp) for exp in (str(NOW_S + 60), float("inf"), float("nan"), True, [], {})},
    "issued in the future": assertion(iat=NOW_S + 31),
    "issued long ago": assertion(iat=NOW_S - 3631),
    **{f"iat {iat!r}": assertion(iat=iat) for iat in ("now", float("nan"), float("-inf"), True, [])},
    "not good yet": assertion(nbf=NOW_S + 31),
    **{f"nbf {nbf!r}": assertion(nbf=nbf) for nbf in ("now", float("nan"), [])},
    **{f"jti {jti!r}"[:30]: assertion(jti=jti) for jti in ("", "a" * 256, "a\0b", "\ud800", "a\nb", 1, ["j"], {})},
    "a megabyte": assertion(padding="a" * 1_000_000),
    "just too long": assertion(padding="a" * 8000),
    "claims that are a list": forge({"alg": "ES256", "kid": "ec"}, [], es256(EC_KEY)),
    "claims that are a text": forge({"alg": "ES256", "kid": "ec"}, CLIENT_ID, es256(EC_KEY)),
    "a sub that is no text that could be stored": assertion(sub="\ud800", iss="\ud800"),
    "nothing": "",
    "dots": "..",
    "not ASCII": "é.é.é",
    "a text": "assertion",
}  # fmt: skip
