"""OAuth libraries that know nothing of Sekisho work with its HTTP face as they are."""

from typing import Any

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from jwskate import Jwk
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauth2client import (
    ClientSecretBasic,
    ClientSecretPost,
    OAuth2Client,
    PrivateKeyJwt,
    oauth2_discovery_document_url,
)
from requests_oauthlib import OAuth2Session

from sekisho.auth.v1 import client_registration_service_pb2 as registration_pb
from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.payments.v1 import payment_service_pb2 as payment_pb
from tests.mesh import OK, Mesh
from tests.waiting import until


def trusting(mesh: Mesh, session: Any = None) -> Any:
    """Return a session that trusts the mesh's CA."""
    session = session or requests.Session()
    session.verify = mesh.addresses["ca"]
    session.trust_env = False
    return session


def discovered(mesh: Mesh) -> dict[str, Any]:
    """Return the metadata as RFC 8414 has it found: by the issuer alone, and naming it."""
    issuer = mesh.addresses["oauth"]
    document = trusting(mesh).get(f"{issuer}/.well-known/oauth-authorization-server", timeout=20).json()
    assert document["issuer"] == issuer
    return dict(document)


def managed(session: Any, registered: dict[str, Any]) -> None:
    """Read, update and delete a client by what its registration was answered with (RFC 7592)."""
    uri = registered["registration_client_uri"]
    own = {"Authorization": f"Bearer {registered['registration_access_token']}"}
    assert session.get(uri, headers=own, timeout=20).json()["client_name"] == registered["client_name"]
    change = {"client_id": registered["client_id"], "client_name": "Another name", "scope": "payments.read"}
    changed = session.put(uri, headers=own, json=change, timeout=20)
    assert (changed.status_code, changed.json()["scope"]) == (200, "payments.read")
    assert session.delete(uri, headers=own, timeout=20).status_code == 204
    assert session.get(uri, headers=own, timeout=20).status_code == 401


def registered_with(mesh: Mesh, session: Any, **metadata: Any) -> dict[str, Any]:
    """Register a client by a session that sends a Master Client's token."""
    statement = mesh.approved_application(mesh.token("master")).software_statement
    body = {"software_statement": statement, "client_name": "Tea House", **metadata}
    answer = session.post(discovered(mesh)["registration_endpoint"], json=body, timeout=20)
    assert answer.status_code == 201, answer.text
    client: dict[str, Any] = answer.json()
    assert client["software_statement"] == statement
    return client


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_goes_all_the_way(mesh: Mesh, method: str) -> None:
    metadata = discovered(mesh)
    AuthorizationServerMetadata(metadata).validate_issuer()
    AuthorizationServerMetadata(metadata).validate_token_endpoint()
    AuthorizationServerMetadata(metadata).validate_jwks_uri()
    master = trusting(mesh, AuthlibSession(*mesh.credentials("master")))
    token = master.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="clients.write")
    assert token["scope"] == "clients.write"
    client = registered_with(mesh, master, token_endpoint_auth_method=method)
    shop = trusting(
        mesh,
        AuthlibSession(
            client["client_id"],
            client["client_secret"],
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
        ),
    )
    shop.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    question = {"token": shop.token["access_token"]}
    introspect = metadata["introspection_endpoint"]
    asked = shop.introspect_token(introspect, **question).json()
    assert (asked["active"], asked["client_id"]) == (True, client["client_id"])
    assert shop.revoke_token(metadata["revocation_endpoint"], **question).status_code == 200
    assert shop.introspect_token(introspect, **question).json() == {"active": False}
    managed(trusting(mesh), client)


def test_requests_oauthlib_goes_all_the_way(mesh: Mesh) -> None:
    metadata, own = discovered(mesh), mesh.credentials("master")
    client = BackendApplicationClient(client_id=own[0])
    master = trusting(mesh, OAuth2Session(client=client))
    token = master.fetch_token(metadata["token_endpoint"], client_id=own[0], client_secret=own[1])
    managed(trusting(mesh), registered_with(mesh, master))
    revocation = client.prepare_token_revocation_request(metadata["revocation_endpoint"], token["access_token"])
    session = trusting(mesh)
    url, headers, body = revocation
    assert session.post(url, headers=headers, data=body, auth=own, timeout=20).status_code == 200
    question = {"token": token["access_token"]}
    asked = session.post(metadata["introspection_endpoint"], data=question, auth=own, timeout=20)
    assert asked.json() == {"active": False}


def way(mesh: Mesh, client: dict[str, Any], key: Jwk) -> Any:
    """Return how a client authenticates by requests-oauth2client."""
    client_id, secret = client["client_id"], client.get("client_secret", "")
    return {
        "client_secret_basic": lambda: ClientSecretBasic(client_id, secret),
        "client_secret_post": lambda: ClientSecretPost(client_id, secret),
        # Left alone, it names the URL of whatever endpoint it calls; of these, this server takes the token endpoint's.
        "private_key_jwt": lambda: PrivateKeyJwt(client_id, key, aud=mesh.addresses["oauth"]),
    }[client["token_endpoint_auth_method"]]()


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
def test_requests_oauth2client_goes_all_the_way(mesh: Mesh, method: str) -> None:
    session, issuer = trusting(mesh), mesh.addresses["oauth"]

    def discover(auth: Any) -> OAuth2Client:
        url = oauth2_discovery_document_url(issuer)  # otherwise it looks for an OpenID Provider
        return OAuth2Client.from_discovery_endpoint(url, issuer, auth=auth, session=session, testing=True)

    token = discover(ClientSecretBasic(*mesh.credentials("master"))).client_credentials(scope="clients.write")
    key = Jwk.generate(alg="ES256").with_kid_thumbprint()
    keys = {"jwks": {"keys": [key.public_jwk().minimize().to_dict()]}} if method == "private_key_jwt" else {}
    by_master = trusting(mesh)
    by_master.headers["Authorization"] = f"Bearer {token.access_token}"
    registered = registered_with(mesh, by_master, token_endpoint_auth_method=method, **keys)
    shop = discover(way(mesh, registered, key))
    own = shop.client_credentials(scope="payments.read")
    assert shop.introspect_token(own)["scope"] == "payments.read"
    assert shop.revoke_access_token(own)
    assert shop.introspect_token(own) == {"active": False}
    managed(session, registered)


def test_tokens_of_both_protocols_are_the_same(mesh: Mesh) -> None:
    metadata = discovered(mesh)
    session, shop = trusting(mesh), mesh.tenant()
    own = (shop.client_id, shop.client_secret)
    grant = {"grant_type": "client_credentials"}
    by_http = session.post(metadata["token_endpoint"], data=grant, auth=own, timeout=20).json()["access_token"]
    by_grpc = mesh.token_of(*own)
    listing, credentials = payment_pb.ListPaymentsRequest(), {"client_id": own[0], "client_secret": own[1]}
    for token in (by_http, by_grpc):
        assert mesh.attempt(mesh.payments.ListPayments, listing, token) == OK
        asked = session.post(metadata["introspection_endpoint"], data={"token": token}, auth=own, timeout=20).json()
        told = mesh.call(mesh.tokens.IntrospectToken, token_pb.IntrospectTokenRequest(token=token, **credentials))
        assert (asked["client_id"], asked["partner_id"]) == (told.client_id, told.partner_id)
        assert (told.client_id, told.partner_id) == (shop.client_id, shop.partner_id)
    revoked = session.post(metadata["revocation_endpoint"], data={"token": by_grpc}, auth=own, timeout=20)
    assert revoked.status_code == 200
    mesh.call(mesh.tokens.RevokeToken, token_pb.RevokeTokenRequest(token=by_http, **credentials))
    for token in (by_http, by_grpc):
        until(lambda token=token: mesh.attempt(mesh.payments.ListPayments, listing, token)[1] == "INVALID_TOKEN")


def test_failures_at_one_door_count_at_the_other(mesh: Mesh) -> None:
    endpoint, session = discovered(mesh)["token_endpoint"], trusting(mesh)
    grant = {"grant_type": "client_credentials"}
    wrong = {"client_id": "cli_nobody", "client_secret": "wrong"}
    while session.post(endpoint, data={**grant, **wrong}, timeout=20).status_code != 429:
        pass
    by_grpc = token_pb.IssueTokenRequest(**grant, **wrong)
    assert mesh.attempt(mesh.tokens.IssueToken, by_grpc) == ("RESOURCE_EXHAUSTED", "TOO_MANY_FAILURES")
    assert mesh.token("master")


def test_a_client_that_was_registered_by_http_is_known_by_grpc(mesh: Mesh) -> None:
    metadata, master = discovered(mesh), mesh.token("master")
    statement = mesh.approved_application(master).software_statement
    registered = (
        trusting(mesh)
        .post(
            metadata["registration_endpoint"],
            json={"software_statement": statement},
            headers={"Authorization": f"Bearer {master}"},
            timeout=20,
        )
        .json()
    )
    get = registration_pb.GetClientRequest(client_id=registered["client_id"])
    assert mesh.call(mesh.registration.GetClient, get, master).scope == registered["scope"]
    assert mesh.token_of(registered["client_id"], registered["client_secret"])
