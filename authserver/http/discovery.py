"""What programs and people find out without credentials: metadata (RFC 8414), keys, the description, a page."""

import html
import json
from collections.abc import Mapping
from http import HTTPStatus
from importlib import resources

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from authserver.clients.authentication_method import CLIENT_CREDENTIALS, AuthMethod
from authserver.clients.keys import ALGORITHMS
from authserver.http.refusals import Refused
from authserver.keys.ring import KeyRing
from mesh.access.descriptors import Method

# Shorter than a key is announced before its use.
_CACHED = {"Cache-Control": "public, max-age=300"}
_PAGE_HEADERS = {
    **_CACHED,
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class DiscoveryEndpoints:
    """Answers everybody alike.

    Args:
        key_ring: The keys.
        methods: The contracts' methods, whose rules name the scopes.
        public_url: Where clients reach this server.

    """

    def __init__(self, key_ring: KeyRing, *, methods: Mapping[str, Method], public_url: str) -> None:
        """Write the documents that never change."""
        files = resources.files("authserver.http")
        self._key_ring = key_ring
        self._metadata = _metadata(public_url, methods)
        self._openapi = json.loads(files.joinpath("openapi.json").read_text())
        self._openapi["servers"] = [{"url": public_url}]
        self._page = files.joinpath("page.html").read_text().replace("{url}", html.escape(public_url))

    async def metadata(self, request: Request) -> Response:
        """Return the metadata of this authorization server."""
        del request
        return JSONResponse(self._metadata, headers=_CACHED)

    async def openid_configuration(self, request: Request) -> Response:
        """Refuse: metadata there is an OpenID Provider's (OpenID Connect Discovery §4), and this server is none.

        Libraries that look there first go on to the metadata of RFC 8414. Found here, it would be read as an OpenID
        Provider's, and refused for what it lacks.

        Raises:
            Refused: Always.

        """
        del request
        issuer = self._metadata["issuer"]
        raise Refused(
            HTTPStatus.NOT_FOUND,
            "invalid_request",
            "this server issues no ID tokens, so it has no OpenID configuration; "
            f"its metadata (RFC 8414) is at {issuer}/.well-known/oauth-authorization-server",
        )

    async def keys(self, request: Request) -> Response:
        """Return the public keys, a JWK set (RFC 7517 §5)."""
        del request
        await self._key_ring.catch_up()
        return JSONResponse(self._key_ring.jwks(), headers=_CACHED, media_type="application/jwk-set+json")

    async def openapi(self, request: Request) -> Response:
        """Return the description of all this."""
        del request
        return JSONResponse(self._openapi, headers=_CACHED)

    async def page(self, request: Request) -> Response:
        """Return a page for people."""
        del request
        return HTMLResponse(self._page, headers=_PAGE_HEADERS)


def _metadata(url: str, methods: Mapping[str, Method]) -> dict[str, object]:
    rules = [method.rule for method in methods.values() if method.rule]
    authentication = {"auth_methods": list(AuthMethod), "auth_signing_alg_values": list(ALGORITHMS)}
    return {
        "issuer": url,
        "token_endpoint": f"{url}/oauth2/token",
        "introspection_endpoint": f"{url}/oauth2/introspect",
        "revocation_endpoint": f"{url}/oauth2/revoke",
        "registration_endpoint": f"{url}/oauth2/register",
        "jwks_uri": f"{url}/.well-known/jwks.json",
        "service_documentation": f"{url}/",
        "grant_types_supported": [CLIENT_CREDENTIALS],
        "response_types_supported": [],  # required (RFC 8414 §2), though there is no authorization endpoint
        "scopes_supported": sorted(frozenset[str]().union(*(rule.scopes for rule in rules))),
        **{
            f"{endpoint}_endpoint_{name}_supported": values
            for endpoint in ("token", "introspection", "revocation")
            for name, values in authentication.items()
        },
    }
