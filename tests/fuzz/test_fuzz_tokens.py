"""What callers show to prove who they are: nothing but the genuine thing, letter by letter, proves anything."""

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from hypothesis import given
from hypothesis import strategies as st

from authserver.access_tokens import AccessToken, Epochs, TokenRejected, TokenSealer
from authserver.clients.secrets import Peppers, new_client_secret
from authserver.clients.software_statements import TYP as STATEMENT_TYP
from authserver.clients.software_statements import StatementIssuer, verify_statement
from authserver.errors import InvalidSoftwareStatement
from mesh.access.rules import Caller, ClientType
from mesh.security import private_tokens, signed_jwt
from mesh.security.private_tokens import InvalidPrivateToken, Keys, PrivateTokenVerifier
from mesh.security.signed_jwt import SigningKey, create_pem
from shops.owner_tokens import owner_token, same_token
from tests.fuzz.effort import cases
from tests.fuzz.mutations import hostile_texts, spliced, spoiled
from tests.unit.mesh.forgery import encode, es256, forge

KEY = bytes(range(32))
SEALER = TokenSealer({1: KEY}, 1)
CALLER = Caller("cli_1", ClientType.PARTNER, "shops", "ptn_1", frozenset({"payments.read"}))
TOKEN = AccessToken(CALLER, "jti", 1_800_000_000, Epochs(1, 2, 3))
SEALED, CONTENTS = SEALER.seal(TOKEN), msgspec.msgpack.encode(TOKEN)

NOW = 1_800_000_000
SIGNER = SigningKey.from_pem(create_pem())
KEYS = {SIGNER.kid: SIGNER.key.public_key()}
REGISTERED = {"iss": "authserver", "aud": "payments", "iat": NOW, "exp": NOW + 300, "jti": "1"}
PRIVATE_CLAIMS = {**REGISTERED, **private_tokens.claims_of(CALLER)}
PRIVATE = signed_jwt.sign(SIGNER, private_tokens.TYP, PRIVATE_CLAIMS)
STATEMENT_CLAIMS = {**REGISTERED, "partner_id": "ptn_1", "platform_id": "shops"}
STATEMENT = signed_jwt.sign(SIGNER, STATEMENT_TYP, STATEMENT_CLAIMS)
ISSUERS = (StatementIssuer("authserver", KEYS),)

numbers = st.integers() | st.integers(NOW - 400, NOW + 400) | st.floats() | st.sampled_from([10**308, -(10**308)])
values = st.recursive(
    st.none() | st.booleans() | numbers | hostile_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
claim_names = st.sampled_from([*PRIVATE_CLAIMS, "partner_id", "platform_id", "nbf"])
header_names = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5c", "zip"])


@given(spoiled(SEALED))
@cases(200)
def test_an_access_token_that_is_not_the_one_sealed_is_rejected(token: str) -> None:
    with pytest.raises(TokenRejected):
        SEALER.open(token)


@given(st.binary(max_size=60) | st.builds(bytes.__add__, st.just(b"\1\0\0\0\1"), st.binary(max_size=60)))
@cases(100)
def test_bytes_that_were_not_sealed_are_rejected_however_they_begin(raw: bytes) -> None:
    with pytest.raises(TokenRejected):
        SEALER.open("sat_" + encode(raw))


@given(st.binary(max_size=60) | spliced(CONTENTS))
@cases(100)
def test_contents_that_are_sealed_are_rejected_or_a_whole_access_token(contents: bytes) -> None:
    header, nonce = b"\1\0\0\0\1", bytes(12)
    sealed = "sat_" + encode(header + nonce + AESGCMSIV(KEY).encrypt(nonce, contents, header))
    try:
        opened = SEALER.open(sealed)
    except TokenRejected:
        return
    assert msgspec.convert(msgspec.to_builtins(opened), AccessToken) == opened


async def caller_by(token: str) -> Caller | None:
    async def fetch() -> Keys:
        return KEYS

    verifier = PrivateTokenVerifier(fetch, "authserver", "payments", lambda: float(NOW))
    try:
        return await verifier.verify(token)
    except InvalidPrivateToken:
        return None


@given(spoiled(PRIVATE))
@cases(80)
async def test_a_private_token_that_is_not_the_one_signed_proves_nothing(token: str) -> None:
    assert await caller_by(token) is None


@given(claim_names, values)
@cases(60)
async def test_a_private_token_with_any_claim_spoiled_is_refused_or_speaks_for_whom_it_says(
    name: str, value: object
) -> None:
    header = {"alg": "ES256", "typ": private_tokens.TYP, "kid": SIGNER.kid}
    caller = await caller_by(forge(header, {**PRIVATE_CLAIMS, name: value}, es256(SIGNER.key)))
    if caller is not None:
        said = {**PRIVATE_CLAIMS, name: value}
        assert (caller.client_id, caller.client_type) == (said["client_id"], said["client_type"])
        assert (caller.platform_id, caller.partner_id) == (said["platform_id"], said["partner_id"])
        assert sorted(caller.scopes) == sorted(set(str(said["scope"]).split()))
        assert int(str(said["iat"])) - 5 <= NOW < int(str(said["exp"])) + 5


@given(header_names, values)
@cases(60)
async def test_a_private_token_with_any_header_spoiled_is_refused_or_the_same(name: str, value: object) -> None:
    header = {"alg": "ES256", "typ": private_tokens.TYP, "kid": SIGNER.kid, name: value}
    assert await caller_by(forge(header, PRIVATE_CLAIMS, es256(SIGNER.key))) in {None, CALLER}


@given(st.binary(max_size=300), st.binary(max_size=300))
@cases(60)
def test_a_jwt_of_any_bytes_is_rejected(header: bytes, payload: bytes) -> None:
    signed = f"{encode(header)}.{encode(payload)}"
    token = f"{signed}.{encode(es256(SIGNER.key)(signed.encode()))}"
    with pytest.raises(signed_jwt.JwtRejected):
        signed_jwt.verify(token, KEYS, typ="x", issuer="authserver", audience="payments", now=NOW)


@given(spoiled(STATEMENT))
@cases(80)
def test_a_software_statement_that_is_not_the_one_signed_is_refused(statement: str) -> None:
    with pytest.raises(InvalidSoftwareStatement):
        verify_statement(statement, ISSUERS, "payments", NOW)


@given(claim_names, values)
@cases(60)
def test_a_software_statement_with_any_claim_spoiled_is_refused_or_says_what_was_signed(
    name: str, value: object
) -> None:
    claims = {**STATEMENT_CLAIMS, name: value}
    header = {"alg": "ES256", "typ": STATEMENT_TYP, "kid": SIGNER.kid}
    try:
        said = verify_statement(forge(header, claims, es256(SIGNER.key)), ISSUERS, "payments", NOW)
    except InvalidSoftwareStatement:
        return
    assert (said.iss, said.jti, said.partner_id, said.platform_id) == tuple(
        claims[each] for each in ("iss", "jti", "partner_id", "platform_id")
    )
    assert all(0 < len(text) <= 64 for text in (said.jti, said.partner_id, said.platform_id))


jwks = st.fixed_dictionaries(
    {
        "keys": st.lists(
            st.fixed_dictionaries(
                {},
                optional={name: st.just(value) | values | spoiled(value) for name, value in SIGNER.public_jwk().items()}
                | {"d": st.text(max_size=3)},
            ),
            max_size=3,
        )
    }
)


@given(values | jwks)
@cases(100)
def test_a_set_of_keys_is_refused_or_has_keys_of_the_one_curve(jwks: object) -> None:
    try:
        keys = signed_jwt.public_keys(jwks)  # type: ignore[arg-type]
    except signed_jwt.JwtRejected:
        return
    assert all(isinstance(kid, str) and key.curve.name == "secp256r1" for kid, key in keys.items())
    assert set(keys) <= {each["kid"] for each in jwks["keys"] if "kid" in each}  # type: ignore[index]


SECRET = new_client_secret()
PEPPERS = Peppers({1: KEY}, 1)


@given(spoiled(SECRET))
@cases(200)
def test_a_client_secret_has_one_spelling(presented: str) -> None:
    assert not PEPPERS.matches(presented, PEPPERS.digest(SECRET))
    assert not PEPPERS.matches(presented, PEPPERS.no_digest)


OWNER = owner_token(KEY, "shp_1", 1)


@given(spoiled(OWNER))
@cases(100)
def test_an_owner_token_has_one_spelling(presented: str) -> None:
    assert not same_token(OWNER, presented)
