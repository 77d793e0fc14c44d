"""`/oauth2/register` (RFC 7591) and `/oauth2/register/{client_id}` (RFC 7592), as strangers and libraries call them."""

import json
from typing import Any

import httpx
import pytest

from tests.unit.authserver.assertions import EC_JWK, NEXT_JWK
from tests.unit.authserver.face import GRANT, Face, basic, bearer, errors_of
from tests.unit.authserver.wire import statement

REGISTER = "/oauth2/register"


@pytest.fixture(scope="module")
def face(one_face: Face) -> Face:
    return one_face


@pytest.fixture(scope="module")
def master(face: Face) -> dict[str, str]:
    """Return the Master Client's header."""
    return face.as_(face.shops)


def own(client: dict[str, Any]) -> dict[str, str]:
    return bearer(client["registration_access_token"])


def update(client: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return what a library sends to change something: all that it was answered with, less what it must leave out."""
    servers = {
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
        "software_statement",
    }
    body = {**{name: value for name, value in client.items() if name not in servers}, **fields}
    return {name: value for name, value in body.items() if value is not None}


def uri(client: dict[str, Any]) -> str:
    return f"{REGISTER}/{client['client_id']}"


# -- Registration


def test_a_registration_is_answered_with_all_that_the_rfc_asks_for(face: Face, master: dict[str, str]) -> None:
    body = {**face.registration(client_name=None), "unknown_member": "x", "logo_uri": "https://shop.example/logo"}
    answer = face.http.post(REGISTER, json=body, headers=master)
    assert answer.status_code == 201
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    content = answer.json()
    for name in ("client_secret", "registration_access_token", "client_id_issued_at"):
        assert content.pop(name)
    client_id = content.pop("client_id")
    assert content == {
        "client_name": content["partner_id"],  # that is all that is known of it
        "client_secret_expires_at": 0,
        "client_type": "PARTNER",
        "grant_types": ["client_credentials"],
        "partner_id": content["partner_id"],
        "platform_id": "shops",
        "registration_client_uri": f"{face.url}{REGISTER}/{client_id}",
        "response_types": [],
        "scope": "payments.read payments.write",
        "software_statement": body["software_statement"],
        "token_endpoint_auth_method": "client_secret_basic",
    }


def test_what_a_client_asks_for_is_echoed(face: Face) -> None:
    asked = {
        "client_name": "お茶",
        "scope": "payments.read",
        "grant_types": ["client_credentials"],
        "response_types": [],
        "redirect_uris": [],
        "token_endpoint_auth_method": "client_secret_post",
    }
    client = face.register(**asked)
    assert {name: client.get(name, []) for name in asked} == asked


def test_a_client_with_keys_has_no_secret(face: Face, master: dict[str, str]) -> None:
    client = face.register(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [EC_JWK]})
    assert "client_secret" not in client
    assert client["client_secret_expires_at"] == 0
    (jwk,) = client["jwks"]["keys"]
    assert {name: jwk[name] for name in ("kid", "x", "y")} == {name: EC_JWK[name] for name in ("kid", "x", "y")}
    assert face.http.get(uri(client), headers=master).json()["jwks"] == client["jwks"]


SERVERS: dict[str, dict[str, Any]] = {
    "when the id was issued": {"client_id_issued_at": 1},
    "when the secret expires": {"client_secret_expires_at": 0},
    "a registration access token": {"registration_access_token": "rat_x"},
    "where it is managed": {"registration_client_uri": "https://attacker.example/"},
}
METADATA: dict[str, dict[str, Any]] = {
    "an id of its own": {"client_id": "cli_mine"},
    "a secret of its own": {"client_secret": "secret"},
    **SERVERS,
    "a redirect": {"redirect_uris": ["https://shop.example/cb"]},
    "a response type": {"response_types": ["code"]},
    "no grant": {"grant_types": []},
    "another grant": {"grant_types": ["authorization_code"]},
    "one grant more": {"grant_types": ["client_credentials", "refresh_token"]},
    "another method": {"token_endpoint_auth_method": "none"},
    "client_secret_jwt": {"token_endpoint_auth_method": "client_secret_jwt"},
    "keys without their method": {"jwks": {"keys": [EC_JWK]}},
    "a method without keys": {"token_endpoint_auth_method": "private_key_jwt"},
    "keys elsewhere": {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://169.254.169.254/"},
    "a private key": {
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [{**EC_JWK, "d": "AAAA"}]},
    },
    "no keys": {"token_endpoint_auth_method": "private_key_jwt", "jwks": {}},
    "keys as a text": {"token_endpoint_auth_method": "private_key_jwt", "jwks": json.dumps({"keys": [EC_JWK]})},
    "an empty name": {"client_name": ""},
    "a long name": {"client_name": "a" * 201},
    "a name with a line break": {"client_name": "Tea\nshop"},
    "a name that is a number": {"client_name": 1},
    "an unknown scope": {"scope": "everything"},
    "a scope of the platform's own": {"scope": "clients.write"},
    "scopes as a list": {"scope": ["payments.read"]},
    "grant types as a text": {"grant_types": "client_credentials"},
    "a statement that is a number": {"software_statement": 1},
}  # fmt: skip


@pytest.mark.parametrize("fields", METADATA.values(), ids=METADATA)
def test_what_can_not_be_had_is_refused_and_the_statement_stays_good(
    face: Face, master: dict[str, str], fields: dict[str, Any]
) -> None:
    good = face.registration()
    answer = face.http.post(REGISTER, json={**good, **fields}, headers=master)
    assert errors_of(answer) == (400, "invalid_client_metadata")
    assert face.http.post(REGISTER, json=good, headers=master).status_code == 201


def test_a_statement_that_proves_nothing_is_refused(face: Face, master: dict[str, str]) -> None:
    used = face.registration()
    assert face.http.post(REGISTER, json=used, headers=master).status_code == 201
    for text, error in (
        ("", "invalid_software_statement"),
        ("x", "invalid_software_statement"),
        ("a" * 60_000, "invalid_software_statement"),
        (statement(exp=1), "invalid_software_statement"),
        (statement(aud="payments"), "invalid_software_statement"),
        (statement(platform_id="stalls"), "unapproved_software_statement"),
        (used["software_statement"], "invalid_software_statement"),
    ):
        answer = face.http.post(REGISTER, json={"software_statement": text}, headers=master)
        assert errors_of(answer) == (400, error)


def test_registration_is_for_master_clients_alone(face: Face) -> None:
    body, shop = face.registration(), face.register()
    shops_token = bearer(face.http.post("/oauth2/token", data=GRANT, auth=basic(shop)).json()["access_token"])
    refusals: tuple[tuple[dict[str, str], tuple[int, str]], ...] = (
        ({}, (401, "invalid_token")),
        (bearer("x"), (401, "invalid_token")),
        (bearer("a" * 9_000), (401, "invalid_token")),
        ({"authorization": "Bearer"}, (401, "invalid_token")),
        ({"authorization": "Basic YTpi"}, (401, "invalid_token")),
        (bearer(shop["registration_access_token"]), (401, "invalid_token")),
        (shops_token, (403, "insufficient_scope")),
        (face.as_(face.operator), (403, "insufficient_scope")),
        (face.as_(face.shops, scope="clients.read"), (403, "insufficient_scope")),
    )
    for headers, refusal in refusals:
        answer = face.http.post(REGISTER, json=body, headers=headers)
        assert errors_of(answer) == refusal
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert 'scope="clients.write"' in answer.headers["www-authenticate"]
    token = face.token(face.shops)
    for answer in (
        face.http.post(REGISTER, json=body, headers=[("authorization", f"Bearer {token}")] * 2),
        face.http.post(REGISTER, json=body, params={"access_token": token}),
    ):
        assert errors_of(answer) == (401, "invalid_token")
    assert face.http.post(REGISTER, json=body, headers=bearer(token)).status_code == 201


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[1]",
    "a text": b'"x"',
    "null": b"null",
    "half an object": b'{"a": ',
    "no UTF-8": b'{"client_name": "\xff"}',
    "a lone surrogate": b'{"client_name": "\\ud800"}',
    "30,000 levels": b'{"a":' + b"[" * 30_000,
    "NaN": b'{"client_name": NaN}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_is_no_json_object_is_refused(face: Face, master: dict[str, str], body: bytes) -> None:
    headers = {"content-type": "application/json", **master}
    answer = face.http.post(REGISTER, content=body, headers=headers)
    assert errors_of(answer) == (400, "invalid_client_metadata")


def test_a_form_and_a_megabyte_are_refused(face: Face, master: dict[str, str]) -> None:
    form = face.http.post(REGISTER, data={"client_name": "a"}, headers=master)
    assert errors_of(form) == (400, "invalid_request")
    megabyte = face.http.post(REGISTER, json={"client_name": "a" * 1_000_000}, headers=master)
    assert errors_of(megabyte) == (413, "invalid_request")


# -- Management


def test_a_client_is_read_changed_and_deleted_by_its_registration_access_token(face: Face) -> None:
    client = face.register()
    registered = {name: value for name, value in client.items() if name not in {"client_secret", "software_statement"}}
    assert face.http.get(uri(client), headers=own(client)).json() == registered
    answer = face.http.put(uri(client), json=update(client, client_name="Coffee"), headers=own(client))
    assert answer.status_code == 200
    assert answer.json() == {**registered, "client_name": "Coffee"}
    assert face.http.delete(uri(client), headers=own(client)).status_code == 204
    assert errors_of(face.http.get(uri(client), headers=own(client))) == (401, "invalid_token")
    assert errors_of(face.http.post("/oauth2/token", data=GRANT, auth=basic(client))) == (401, "invalid_client")


def test_a_client_is_read_changed_and_deleted_by_its_master_client(face: Face, master: dict[str, str]) -> None:
    client = face.register()
    assert face.http.get(uri(client), headers=master).json()["client_name"] == "Tea shop"
    assert "registration_access_token" not in face.http.get(uri(client), headers=master).json()
    changed = face.http.put(uri(client), json=update(client, scope="payments.read"), headers=master)
    assert changed.json()["scope"] == "payments.read"
    assert face.http.delete(uri(client), headers=master).status_code == 204
    assert errors_of(face.http.get(uri(client), headers=master)) == (401, "invalid_token")


def test_the_scope_that_a_client_gave_up_is_its_platforms_to_give_back(face: Face, master: dict[str, str]) -> None:
    client = face.register(scope="payments.read")
    wide = update(client, scope="payments.read payments.write")
    answer = face.http.put(uri(client), json=wide, headers=own(client))
    assert errors_of(answer) == (400, "invalid_client_metadata")
    assert face.http.put(uri(client), json=update(client, scope=None), headers=own(client)).json()["scope"] == (
        "payments.read"
    )
    assert face.http.put(uri(client), json=wide, headers=master).json()["scope"] == "payments.read payments.write"


def test_keys_are_replaced_and_stay_if_nothing_is_said_of_them(face: Face) -> None:
    client = face.register(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [EC_JWK]})
    changed = face.http.put(uri(client), json=update(client, jwks={"keys": [NEXT_JWK]}), headers=own(client)).json()
    assert [jwk["kid"] for jwk in changed["jwks"]["keys"]] == ["next"]
    silent = update(client, jwks=None, token_endpoint_auth_method=None, client_name="Coffee")
    kept = face.http.put(uri(client), json=silent, headers=own(client)).json()
    assert (kept["client_name"], kept["jwks"]) == ("Coffee", changed["jwks"])


UPDATES: dict[str, dict[str, Any]] = {
    "no client id": {"client_id": None},
    "another client's id": {"client_id": "cli_other"},
    "another type": {"client_type": "MASTER"},
    "another platform": {"platform_id": "stalls"},
    "another partner": {"partner_id": "ptr_other"},
    "a secret of its own": {"client_secret": "chosen"},
    "a secret that is a number": {"client_secret": 1},
    **SERVERS,
    "another grant": {"grant_types": ["password"]},
    "an unknown scope": {"scope": "everything"},
    "an empty name": {"client_name": ""},
}


@pytest.mark.parametrize("fields", UPDATES.values(), ids=UPDATES)
def test_an_update_changes_nothing_that_is_the_servers(
    face: Face, master: dict[str, str], fields: dict[str, Any]
) -> None:
    client = face.register()
    before = face.http.get(uri(client), headers=master).json()
    for headers in (own(client), master):
        answer = face.http.put(uri(client), json=update(client, **fields), headers=headers)
        assert errors_of(answer) == (400, "invalid_client_metadata")
    assert face.http.get(uri(client), headers=master).json() == before


def test_a_registration_access_token_opens_its_own_url_and_nothing_else(face: Face) -> None:
    client, other = face.register(), face.register()
    foreign = face.register(face.stalls)

    def by(headers: dict[str, str], url: str) -> list[httpx.Response]:
        return [
            face.http.get(url, headers=headers),
            face.http.put(url, json=update(other), headers=headers),
            face.http.delete(url, headers=headers),
        ]

    for url in (uri(other), uri(foreign), f"{REGISTER}/cli_unknown", f"{REGISTER}/%00"):
        for answer in by(own(client), url):
            assert errors_of(answer) == (401, "invalid_token")
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    for token in ("rat_", "rat_x", client["registration_access_token"] + "a", client["client_secret"]):
        for answer in by(bearer(token), uri(client)):
            assert errors_of(answer) == (401, "invalid_token")
    for client_ in (client, other, foreign):
        assert face.http.get(uri(client_), headers=own(client_)).status_code == 200


def test_another_platforms_master_client_sees_no_such_client(face: Face) -> None:
    client = face.register()
    stranger = face.as_(face.stalls)
    for answer in (
        face.http.get(uri(client), headers=stranger),
        face.http.put(uri(client), json=update(client), headers=stranger),
        face.http.delete(uri(client), headers=stranger),
    ):
        assert errors_of(answer) == (401, "invalid_token")
    assert face.http.get(uri(client), headers=own(client)).status_code == 200


def test_a_shop_manages_nothing_by_its_access_token(face: Face) -> None:
    shop = face.register()
    token = bearer(face.http.post("/oauth2/token", data=GRANT, auth=basic(shop)).json()["access_token"])
    for answer in (
        face.http.get(uri(shop), headers=token),
        face.http.put(uri(shop), json=update(shop), headers=token),
        face.http.delete(uri(shop), headers=token),
    ):
        assert errors_of(answer) == (403, "insufficient_scope")


def test_a_secret_may_be_sent_along_but_not_chosen(face: Face, master: dict[str, str]) -> None:
    client = face.register()
    for headers in (own(client), master):
        body = update(client, client_secret=client["client_secret"])
        assert face.http.put(uri(client), json=body, headers=headers).status_code == 200
    assert face.http.post("/oauth2/token", data=GRANT, auth=basic(client)).status_code == 200
