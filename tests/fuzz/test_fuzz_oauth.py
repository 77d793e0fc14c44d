"""What clients of the HTTP face send: it is read as what it is, or refused by an error that was made for that."""

import base64
import json
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from authserver.clients.assertions import AssertionRejected, client_id_of, verify_assertion
from authserver.clients.authentication_method import parse_authentication
from authserver.clients.keys import ClientKey
from authserver.clients.presented import PresentedAssertion, PresentedSecret
from authserver.errors import InvalidClient, InvalidClientMetadata
from authserver.http.bodies import read_form, read_json
from authserver.http.client_metadata import read_metadata
from authserver.http.credentials import client_credentials
from authserver.http.refusals import Refused
from mesh.errors import InvalidRequest
from tests.fuzz.effort import cases
from tests.fuzz.mutations import hostile_texts, spliced, spoiled
from tests.unit.authserver.assertions import BY_EC, BY_EC_KEY, CLIENT_ID, EC_JWK, assertion, claims_of
from tests.unit.authserver.company import ISSUER, NOW
from tests.unit.mesh.forgery import forge

GOOD = assertion()
HEADER = {"alg": "ES256", "kid": "ec"}
FORM = b"grant_type=client_credentials&client_id=cli_1&client_secret=a%2Bb&scope=payments.read+payments.write"
METADATA = {
    "client_name": "Tea",
    "scope": "payments.read",
    "grant_types": ["client_credentials"],
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": {"keys": [EC_JWK]},
}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | hostile_texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_texts, inner, max_size=3), max_leaves=6
)


def request(body: bytes = b"", **headers: str) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.replace("_", "-").encode(), value.encode("utf-8", "replace")) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}, receive)


def verified(token: str) -> bool:
    try:
        verify_assertion(token, BY_EC.keys, client_id=CLIENT_ID, audiences=frozenset({ISSUER}), now=NOW)
    except AssertionRejected:
        return False
    return True


@given(spoiled(GOOD))
@cases(200)
def test_an_assertion_that_is_not_the_one_signed_proves_nothing(token: str) -> None:
    assert not verified(token)
    assert len(client_id_of(token)) <= 64


@given(st.sampled_from(sorted(claims_of())), values)
@cases(100)
def test_an_assertion_with_any_claim_spoiled_holds_for_its_client_and_this_server_only(
    name: str, value: object
) -> None:
    claims = {**claims_of(), name: value}
    if verified(forge(HEADER, claims, BY_EC_KEY)):
        assert (claims["iss"], claims["sub"], claims["aud"]) == (CLIENT_ID, CLIENT_ID, ISSUER)
        assert NOW - 30 < float(str(claims["exp"])) <= NOW + 3630


@given(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5c", "zip"]), values)
@cases(100)
def test_an_assertion_with_any_header_spoiled_is_judged_by_the_registered_key(name: str, value: object) -> None:
    attackers = forge({**HEADER, name: value}, claims_of(), lambda _signed: bytes(64))
    assert not verified(attackers)
    verified(forge({**HEADER, name: value}, claims_of(), BY_EC_KEY))


keys = st.fixed_dictionaries(
    {}, optional={name: st.just(value) | values | spoiled(value) for name, value in EC_JWK.items()} | {"use": scalars}
)


@given(values | st.fixed_dictionaries({"keys": st.lists(keys, max_size=3)}))
@cases(200)
def test_a_set_of_keys_is_refused_or_can_be_read_again_as_it_was_kept(jwks: object) -> None:
    try:
        authentication = parse_authentication("private_key_jwt", json.dumps(jwks))
    except InvalidClientMetadata:
        return
    assert all(isinstance(key, ClientKey) for key in authentication.keys)
    assert parse_authentication("private_key_jwt", authentication.jwks).keys == authentication.keys


@given(st.fixed_dictionaries({}, optional={name: st.just(good) | values for name, good in METADATA.items()}))
@cases(200)
def test_metadata_is_refused_or_read(fields: Mapping[str, object]) -> None:
    try:
        metadata = read_metadata(fields)
        assert metadata.authentication is None or metadata.authentication.method == fields["token_endpoint_auth_method"]
    except InvalidClientMetadata:
        return
    assert metadata.scope == fields.get("scope", "")


@given(st.binary(max_size=200) | spliced(json.dumps(METADATA).encode()))
@cases(200)
async def test_a_body_is_refused_or_a_json_object(body: bytes) -> None:
    try:
        fields = await read_json(request(body, content_type="application/json"), 1)
    except Refused:
        return
    assert fields == {name: value for name, value in json.loads(body).items() if value is not None}


@given(st.binary(max_size=200) | spliced(FORM))
@cases(200)
async def test_a_body_is_refused_or_a_form_of_distinct_parameters(body: bytes) -> None:
    try:
        form = await read_form(request(body, content_type="application/x-www-form-urlencoded"), 1)
    except Refused:
        return
    assert all(form.values())
    assert len(form) <= body.count(b"&") + 1


NAMES = ("client_id", "client_secret", "client_assertion_type", "client_assertion")
headers = (
    spoiled("Basic " + base64.b64encode(b"cli_1:secret").decode())
    | hostile_texts.map(lambda text: "Basic " + base64.b64encode(text.encode()).decode())
    | st.none()
)


@given(headers, st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, hostile_texts.filter(bool))))
@cases(300)
def test_client_authentication_is_refused_or_one_of_its_ways(header: str | None, form: Mapping[str, str]) -> None:
    shown = request() if header is None else request(authorization=header)
    try:
        presented = client_credentials(shown, form)
    except (InvalidClient, InvalidRequest, Refused):
        return
    if isinstance(presented, PresentedSecret):
        assert (header is None) == ("client_secret" in form)
    else:
        assert isinstance(presented, PresentedAssertion)
        assert header is None
        assert "client_secret" not in form


def test_the_good_one_holds() -> None:
    assert verified(GOOD)
    assert client_id_of(GOOD) == CLIENT_ID
