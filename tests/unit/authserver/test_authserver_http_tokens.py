"""`/oauth2/token`, `/oauth2/introspect` and `/oauth2/revoke`, as strangers and libraries call them."""

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from authserver.config import AuthServerConfig
from mesh.storage.database import Database
from tests.unit.authserver.assertions import EC_JWK, RSA_JWK, rs256
from tests.unit.authserver.assertions import assertion as make_assertion
from tests.unit.authserver.face import GRANT, JWT_BEARER, Face, basic, bearer, errors_of, face_up

SAML2_BEARER = JWT_BEARER.replace("jwt", "saml2")
FORM = {"content-type": "application/x-www-form-urlencoded"}
TOKEN, INTROSPECT, REVOKE = ENDPOINTS = ("/oauth2/token", "/oauth2/introspect", "/oauth2/revoke")


@pytest.fixture(scope="module")
def face(one_face: Face) -> Face:
    return one_face


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def encoded_pair(client_id: str, client_secret: str) -> str:
    """Return a header whose every character is percent-encoded, as RFC 6749 allows."""
    percent = ["".join(f"%{byte:02x}" for byte in part.encode()) for part in (client_id, client_secret)]
    return encoded(":".join(percent))


# -- The grant


def test_a_token_says_all_that_the_rfc_asks_for(face: Face) -> None:
    answer = face.http.post(TOKEN, data=GRANT, auth=basic(face.shops))
    assert answer.status_code == 200
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    content = answer.json()
    assert content.pop("access_token")
    assert content == {"token_type": "Bearer", "expires_in": 600, "scope": "clients.read clients.write"}


def test_an_asked_scope_is_given_and_an_empty_parameter_is_an_absent_one(face: Face) -> None:
    for scope, given in (("clients.read", "clients.read"), ("", "clients.read clients.write")):
        answer = face.http.post(TOKEN, data={**GRANT, "scope": scope, "unknown": "x"}, auth=basic(face.shops))
        assert answer.json()["scope"] == given


GRANTS = {
    "none": ({}, "invalid_request"),
    "an empty one": ({"grant_type": ""}, "invalid_request"),
    "password": ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
    "a code": ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
    "refresh": ({"grant_type": "refresh_token", "refresh_token": "x"}, "unsupported_grant_type"),
    "in capitals": ({"grant_type": "CLIENT_CREDENTIALS"}, "unsupported_grant_type"),
    "exchange, which is internal": (
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": "x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "audience": "payments",
        },
        "unauthorized_client",
    ),
    "an unknown scope": ({**GRANT, "scope": "everything"}, "invalid_scope"),
    "a scope beyond the client's": ({**GRANT, "scope": "clients.read payments.read"}, "invalid_scope"),
    "a scope that is none": ({**GRANT, "scope": 'clients.read "\\'}, "invalid_scope"),
}


@pytest.mark.parametrize(("form", "error"), GRANTS.values(), ids=GRANTS)
def test_what_is_not_granted_is_refused_by_its_name(face: Face, form: dict[str, str], error: str) -> None:
    assert errors_of(face.http.post(TOKEN, data=form, auth=basic(face.shops))) == (400, error)


# -- Client authentication


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_authentication_is_challenged(face: Face, endpoint: str) -> None:
    for form in ({}, {"client_id": face.shops.client.client_id}):
        answer = face.http.post(endpoint, data={**GRANT, "token": "x", **form})
        assert errors_of(answer) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic ")


def test_a_basic_header_may_be_percent_encoded_with_its_scheme_in_any_case_and_several_spaces(face: Face) -> None:
    client_id, client_secret = basic(face.shops)
    for scheme in ("Basic", "basic", "BASIC", "Basic  "):
        header = {"authorization": f"{scheme} {encoded_pair(client_id, client_secret)}"}
        assert face.http.post(TOKEN, data=GRANT, headers=header).status_code == 200


HEADERS = {
    "another scheme": "Bearer abc",
    "nothing after the scheme": "Basic",
    "no base64": "Basic !!!",
    "base64 cut off": "Basic YWJj" + "Z",
    "base64url": "Basic _-__",
    "no colon": f"Basic {encoded('abc')}",
    "no UTF-8": "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
    "percent-encoding of no UTF-8": f"Basic {encoded('%ff%fe:x')}",
    "an unknown client": f"Basic {encoded('cli_unknown:x')}",
    "NUL": f"Basic {encoded('cli%00:x%00')}",
    "empty": f"Basic {encoded(':')}",
    "a colon more": f"Basic {encoded('a:b:c')}",
    "a plus for a space": f"Basic {encoded('a+b:c+d')}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_basic_header_that_proves_nothing_is_challenged(face: Face, header: str) -> None:
    assert errors_of(face.http.post(TOKEN, data=GRANT, headers={"authorization": header})) == (401, "invalid_client")


def test_unknown_client_and_wrong_secret_are_told_the_same(face: Face) -> None:
    answers = [
        face.http.post(TOKEN, data=GRANT, auth=auth) for auth in (("cli_unknown", "x"), (basic(face.shops)[0], "x"))
    ]
    assert [errors_of(answer) for answer in answers] == [(401, "invalid_client")] * 2
    assert answers[0].text == answers[1].text


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_two_ways_of_authentication_at_once_are_refused(face: Face, endpoint: str) -> None:
    client_id, client_secret = basic(face.shops)
    header = {"authorization": f"Basic {encoded(f'{client_id}:{client_secret}')}"}
    proven = {"client_assertion_type": JWT_BEARER, "client_assertion": "x"}
    asked = {**GRANT, "token": "x"}
    secret = {"client_id": client_id, "client_secret": client_secret}
    for headers, form in (
        (header, {"client_secret": client_secret}),
        (header, secret),
        (header, proven),
        (header, {"client_assertion": "x"}),
        (header, {"client_id": "another"}),
        ({}, {**secret, **proven}),
        ({}, {**secret, "client_assertion_type": JWT_BEARER}),
        ({}, {"client_secret": client_secret}),
        ({}, {"client_assertion": "x"}),
        ({}, {"client_assertion_type": JWT_BEARER}),
        ({}, {**proven, "client_assertion_type": SAML2_BEARER}),
    ):
        assert errors_of(face.http.post(endpoint, data={**asked, **form}, headers=headers)) == (400, "invalid_request")
    twice = [("authorization", header["authorization"])] * 2
    assert errors_of(face.http.post(endpoint, data=asked, headers=twice)) == (400, "invalid_request")
    assert face.http.post(endpoint, data={**asked, "client_id": client_id}, headers=header).status_code == 200


def ways(face: Face, client: dict[str, Any]) -> dict[str, httpx.Response]:
    """Return what a client is answered, by the way that it authenticates."""
    client_id, client_secret = client["client_id"], client.get("client_secret", "x")
    by_form = {**GRANT, "client_id": client_id, "client_secret": client_secret}
    return {
        "client_secret_basic": face.http.post(TOKEN, data=GRANT, auth=(client_id, client_secret)),
        "client_secret_post": face.http.post(TOKEN, data=by_form),
        "private_key_jwt": face.http.post(TOKEN, data=asserting(face, client_id)),
    }


@pytest.mark.parametrize(
    "registration",
    [
        {},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [EC_JWK]}},
    ],
)
def test_the_registered_method_is_the_only_one(face: Face, registration: dict[str, Any]) -> None:
    client = face.register(**registration)
    registered = registration.get("token_endpoint_auth_method", "client_secret_basic")
    assert client["token_endpoint_auth_method"] == registered
    for method, answer in ways(face, client).items():
        assert answer.status_code == (200 if method == registered else 401), method


@pytest.mark.parametrize("registered", ["client_secret_basic", "client_secret_post"])
def test_who_proves_the_secret_by_another_method_is_told_the_registered_one_and_nobody_else_is(
    face: Face, registered: str
) -> None:
    client = face.register(token_endpoint_auth_method=registered)
    (other,) = {"client_secret_basic", "client_secret_post"} - {registered}

    def words(client: dict[str, Any]) -> str:
        answer = ways(face, client)[other]
        assert errors_of(answer) == (401, "invalid_client")
        return str(answer.json()["error_description"])

    assert words(client).endswith(f"registered for another method: {registered}")
    assert words({**client, "client_secret": "wrong"}) == words({**client, "client_id": "cli_unknown"})
    assert "registered for" not in words({**client, "client_secret": "wrong"})


def asserting(face: Face, client_id: str, **changes: Any) -> dict[str, str]:
    now = int(time.time())
    claims = {"aud": face.url, "jti": f"{client_id}-{time.time_ns()}", "exp": now + 60, "iat": now}
    assertion = make_assertion(client_id, **{**claims, **changes})
    return {**GRANT, "client_assertion_type": JWT_BEARER, "client_assertion": assertion}


def test_an_assertion_may_name_either_issuer_or_the_token_endpoint(face: Face) -> None:
    client_id = face.register(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [EC_JWK]})["client_id"]
    for aud in (face.url, face.config.issuer, face.url + TOKEN, [face.url]):
        assert face.http.post(TOKEN, data=asserting(face, client_id, aud=aud)).status_code == 200
        assert face.http.post(TOKEN, data=asserting(face, client_id, aud=aud) | {"client_id": client_id})
    for aud in (face.url + "/", face.url + INTROSPECT, "https://other.example", [face.url, "https://other.example"]):
        answer = face.http.post(TOKEN, data=asserting(face, client_id, aud=aud))
        assert errors_of(answer) == (401, "invalid_client")
    other = asserting(face, client_id) | {"client_id": basic(face.shops)[0]}
    assert errors_of(face.http.post(TOKEN, data=other)) == (401, "invalid_client")


def test_a_client_may_sign_by_rsa(face: Face) -> None:
    client = face.register(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [RSA_JWK]})
    form = asserting(face, client["client_id"], header={"alg": "RS256", "kid": "rsa"}, sign=rs256)
    assert face.http.post(TOKEN, data=form).status_code == 200


# -- Introspection and revocation


def test_a_token_is_introspected_and_revoked_by_its_client(face: Face) -> None:
    shop = face.register()
    token = face.http.post(TOKEN, data=GRANT, auth=basic(shop)).json()["access_token"]
    question = {"token": token, "token_type_hint": "refresh_token"}  # a hint is no more than that
    content = face.http.post(INTROSPECT, data=question, auth=basic(shop)).json()
    assert content.pop("jti")
    assert 590 < content.pop("exp") - time.time() < 602
    assert content == {
        "active": True,
        "scope": shop["scope"],
        "client_id": shop["client_id"],
        "sub": shop["client_id"],
        "token_type": "Bearer",
        "iss": face.url,
        "client_type": shop["client_type"],
        "platform_id": "shops",
        "partner_id": shop["partner_id"],
    }
    answer = face.http.post(REVOKE, data=question, auth=basic(shop))
    assert (answer.status_code, answer.json()) == (200, {})
    assert face.http.post(INTROSPECT, data=question, auth=basic(shop)).json() == {"active": False}
    assert errors_of(face.http.get("/oauth2/register/x", headers=bearer(token))) == (401, "invalid_token")


def test_who_is_not_entitled_learns_nothing_and_ends_nothing(face: Face) -> None:
    shop, other = face.register(), face.register()
    token = face.http.post(TOKEN, data=GRANT, auth=basic(shop)).json()["access_token"]
    for stranger in (basic(other), basic(face.stalls)):
        assert face.http.post(INTROSPECT, data={"token": token}, auth=stranger).json() == {"active": False}
        answer = face.http.post(REVOKE, data={"token": token}, auth=stranger)
        assert (answer.status_code, answer.json()) == (200, {})
    assert face.http.post(INTROSPECT, data={"token": token}, auth=basic(shop)).json()["active"] is True


@pytest.mark.parametrize("token", ["x", "a" * 20_000, "é", "\0", "' OR 1=1 --", "a.b.c"])
def test_an_unknown_token_is_not_active_and_its_revocation_is_no_error(face: Face, token: str) -> None:
    assert face.http.post(INTROSPECT, data={"token": token}, auth=basic(face.shops)).json() == {"active": False}
    assert face.http.post(REVOKE, data={"token": token}, auth=basic(face.shops)).status_code == 200


def test_a_question_without_a_token_is_refused(face: Face) -> None:
    for endpoint in (INTROSPECT, REVOKE):
        answer = face.http.post(endpoint, data={"token": ""}, auth=basic(face.shops))
        assert errors_of(answer) == (400, "invalid_request")


# -- What is no such request


BODIES: dict[str, tuple[dict[str, Any], int]] = {
    "no body": ({"headers": FORM}, 400),
    "no content type": ({"content": b"grant_type=client_credentials"}, 400),
    "JSON": ({"json": GRANT}, 400),
    "multipart": ({"files": {"grant_type": (None, "client_credentials")}}, 400),
    "text": ({"content": b"grant_type=client_credentials", "headers": {"content-type": "text/plain"}}, 400),
    "a parameter twice": ({"content": b"grant_type=client_credentials&" * 2, "headers": FORM}, 400),
    "a scope twice": (
        {"content": b"grant_type=client_credentials&scope=a&token=x&scope=b", "headers": FORM},
        400,
    ),
    "an empty parameter twice": ({"content": b"grant_type=client_credentials&token=x&a=&a=", "headers": FORM}, 400),
    "no UTF-8": ({"content": b"grant_type=client_credentials&token=\xff", "headers": FORM}, 400),
    "percent-encoding of no UTF-8": ({"content": b"grant_type=client_credentials&token=%ff", "headers": FORM}, 400),
    "too many parameters": ({"data": {f"p{number}": "x" for number in range(51)}}, 400),
    "a megabyte": ({"data": {**GRANT, "token": "a" * 1_000_000}}, 413),
    "a megabyte in chunks": ({"content": iter([b"a" * 1000] * 1000), "headers": FORM}, 413),
    "parameters in the URL": ({"data": GRANT, "params": {"client_id": "a", "client_secret": "b"}}, 400),
    "nothing but separators": ({"content": b"&&&;;=&", "headers": FORM}, 400),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("what", BODIES)
def test_what_is_no_form_is_refused(face: Face, endpoint: str, what: str) -> None:
    request, status = BODIES[what]
    if "chunks" in what:
        request = {**request, "content": iter([b"a" * 1000] * 1000)}  # an iterator is used up
    answer = face.http.post(endpoint, auth=basic(face.shops), **request)
    assert errors_of(answer) == (status, "invalid_request")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_post_is_taken(face: Face, endpoint: str, method: str) -> None:
    answer = face.http.request(method, endpoint, params={"client_id": "a"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["cache-control"] == "no-store"


def test_a_content_type_may_have_a_charset_and_any_case(face: Face) -> None:
    headers = {"content-type": "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}
    content = b"grant_type=client_credentials"
    assert face.http.post(TOKEN, content=content, headers=headers, auth=basic(face.shops)).status_code == 200


# -- Once used, failures in a row, another configuration


@pytest.fixture
def own_face(
    config: AuthServerConfig, database: Database, tmp_path: Any, request: pytest.FixtureRequest
) -> Iterator[Face]:
    with face_up(config, database, tmp_path, **getattr(request, "param", {})) as face:
        yield face


def test_of_100_parallel_replays_of_an_assertion_one_wins(own_face: Face) -> None:
    client = own_face.register(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [EC_JWK]})
    form = asserting(own_face, client["client_id"])
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: own_face.http.post(TOKEN, data=form), range(100)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) == {200, 401, 429}
    assert own_face.http.post(TOKEN, data=asserting(own_face, client["client_id"])).status_code == 200


def test_an_assertion_that_is_refused_is_not_used_up(own_face: Face) -> None:
    client = own_face.register(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [EC_JWK]})
    good = asserting(own_face, client["client_id"], jti="j1")
    for broken in (
        asserting(own_face, client["client_id"], jti="j1", exp=1),
        asserting(own_face, client["client_id"], jti="j1", aud="https://other.example"),
        {**good, "client_assertion": good["client_assertion"][:-4] + "AAAA"},
    ):
        assert own_face.http.post(TOKEN, data=broken).status_code == 401
    assert own_face.http.post(TOKEN, data=good).status_code == 200
    assert own_face.http.post(TOKEN, data=good).status_code == 401


def test_failures_are_throttled_and_the_right_secret_always_passes(own_face: Face) -> None:
    client_id = basic(own_face.shops)[0]
    answers = [own_face.http.post(TOKEN, data=GRANT, auth=(client_id, "wrong")) for _ in range(12)]
    assert [errors_of(answer) for answer in answers[:10]] == [(401, "invalid_client")] * 10
    assert errors_of(answers[11]) == (429, "temporarily_unavailable")
    assert 1 <= int(answers[11].headers["retry-after"]) <= 12
    assert own_face.token(own_face.shops)


def test_the_right_secret_by_another_method_counts_as_no_failure(own_face: Face) -> None:
    client = own_face.register(token_endpoint_auth_method="client_secret_post")
    answers = [own_face.http.post(TOKEN, data=GRANT, auth=basic(client)) for _ in range(12)]
    assert {errors_of(answer) for answer in answers} == {(401, "invalid_client")}
    assert errors_of(own_face.http.post(TOKEN, data=GRANT, auth=(client["client_id"], "x"))) == (401, "invalid_client")


def test_a_strict_server_takes_no_assertion_for_the_token_endpoint(
    config: AuthServerConfig, database: Database, tmp_path: Any
) -> None:
    with face_up(replace(config, strict_assertion_audience=True), database, tmp_path) as face:
        client_id = face.register(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [EC_JWK]})["client_id"]
        assert face.http.post(TOKEN, data=asserting(face, client_id)).status_code == 200
        answer = face.http.post(TOKEN, data=asserting(face, client_id, aud=face.url + TOKEN))
        assert errors_of(answer) == (401, "invalid_client")
