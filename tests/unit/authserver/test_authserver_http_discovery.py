"""What anybody is told without credentials, and whether it is true."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from authserver.http import discovery
from tests.unit.authserver.face import Face, errors_of

PUBLIC = (
    "/",
    "/openapi.json",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
)


@pytest.fixture(scope="module")
def face(one_face: Face) -> Face:
    return one_face


def test_the_metadata_is_that_of_rfc_8414(face: Face) -> None:
    ways = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    document = face.http.get("/.well-known/oauth-authorization-server").json()
    assert document == {
        "issuer": face.url,
        "jwks_uri": f"{face.url}/.well-known/jwks.json",
        "service_documentation": f"{face.url}/",
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "scopes_supported": document["scopes_supported"],
        **{
            f"{name}_endpoint": f"{face.url}/oauth2/{path}"
            for name, path in (
                ("token", "token"),
                ("introspection", "introspect"),
                ("revocation", "revoke"),
                ("registration", "register"),
            )
        },
        **{
            f"{name}_endpoint_auth_methods_supported": ways for name in ("token", "introspection", "revocation")
        },
        **{
            f"{name}_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256"]
            for name in ("token", "introspection", "revocation")
        },
    }  # fmt: skip
    assert {"clients.write", "payments.read", "payments.write"} <= set(document["scopes_supported"])


def test_who_looks_for_an_openid_provider_is_told_where_the_metadata_is(face: Face) -> None:
    answer = face.http.get("/.well-known/openid-configuration")
    assert errors_of(answer) == (404, "invalid_request")
    assert f"{face.url}/.well-known/oauth-authorization-server" in answer.json()["error_description"]


def test_the_keys_are_public_ones_for_signatures(face: Face) -> None:
    answer = face.http.get("/.well-known/jwks.json")
    assert answer.headers["content-type"] == "application/jwk-set+json"
    keys = answer.json()["keys"]
    assert [jwk["alg"] for jwk in keys] == ["ES256"]
    assert not any("d" in jwk for jwk in keys)
    assert jwt.PyJWKSet.from_dict(answer.json()).keys


def test_the_page_says_what_this_is_and_what_to_try(face: Face) -> None:
    answer = face.http.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    links = re.findall(r'href="(/[^"]*)"', answer.text)
    assert set(links) >= {"/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/openapi.json"}
    for link in links:
        assert face.http.get(link).status_code == 200
    assert f"{face.url}/oauth2/token" in answer.text


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public_may_be_kept_for_a_while_and_asked_for_by_head(face: Face, path: str) -> None:
    got, asked = face.http.get(path), face.http.head(path)
    assert (got.status_code, asked.status_code, asked.content) == (200, 200, b"")
    assert got.headers["cache-control"] == asked.headers["cache-control"] == "public, max-age=300"
    refused = face.http.post(path, content=b"x")
    assert (refused.status_code, set(refused.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})


@pytest.mark.parametrize("path", ["/nothing", "/oauth2", "/oauth2/token/", "/oauth2/register/", "/%00", "/../x"])
def test_there_is_nothing_anywhere_else(face: Face, path: str) -> None:
    for method in ("GET", "POST"):
        assert errors_of(face.http.request(method, path)) == (404, "invalid_request")


def test_a_request_id_is_taken_or_made_and_told(face: Face) -> None:
    assert face.http.get("/", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    made = {face.http.get("/", headers={"x-request-id": bad}).headers["x-request-id"] for bad in ("", "a b", "a" * 999)}
    assert len(made) == 3
    assert all(re.fullmatch(r"[\w-]{8,64}", one) for one in made)


def test_what_breaks_inside_is_not_told(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("secret words")

    monkeypatch.setattr(discovery, "HTMLResponse", broken)
    answer = face.http.get("/")
    assert errors_of(answer) == (500, "server_error")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("paths", "as_"),
    [("oauth2/(token|introspect|revoke)", "client"), ("register", "master"), ("well-known|openapi|^/$", "")],
)
def test_schemathesis_finds_nothing(face: Face, tmp_path: Path, paths: str, as_: str) -> None:
    client_id, client_secret = face.shops.client.client_id, face.shops.client_secret
    credentials = {
        "client": ["--auth", f"{client_id}:{client_secret}"],
        "master": ["--header", f"Authorization: Bearer {face.token(face.shops)}"],
        "": [],
    }[as_]
    # What fits the schema may well be refused: who asks, what was signed and what was granted, no schema says.
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]
    extent = ["--include-path-regex", paths, "--exclude-checks", "positive_data_acceptance", "--max-examples", "12"]
    run = subprocess.run(
        [*command, f"{face.url}/openapi.json", *extent, *credentials, "--tls-verify", str(face.ca), "--seed", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
