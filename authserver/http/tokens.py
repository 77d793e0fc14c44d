"""`/oauth2/token` (RFC 6749), `/oauth2/introspect` (RFC 7662) and `/oauth2/revoke` (RFC 7009)."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver.clients.authentication import Authenticator
from authserver.clients.authentication_method import CLIENT_CREDENTIALS
from authserver.clients.scopes import format_scope
from authserver.clients.store.clients import Client
from authserver.errors import UnsupportedGrantType
from authserver.http.bodies import read_form
from authserver.http.credentials import client_credentials
from authserver.http.refusals import NO_STORE, Refused, invalid_request
from authserver.tokens.client_tokens import ClientTokens
from authserver.tokens.exchange import TOKEN_EXCHANGE
from authserver.tokens.issue import TOKEN_TYPE


class TokenEndpoints:
    """Issues access tokens, revokes them, and says what they are.

    Args:
        authenticator: Tells who asks.
        tokens: Does it.
        issuer: The `iss` of tokens, as introspection says it.
        seconds: How long a client may take to send its request.

    """

    def __init__(self, authenticator: Authenticator, tokens: ClientTokens, *, issuer: str, seconds: float) -> None:
        self._authenticator = authenticator
        self._tokens = tokens
        self._issuer = issuer
        self._seconds = seconds

    async def token(self, request: Request) -> Response:
        """Authenticate the client, and issue."""
        client, form = await self._authenticated(request)
        grant_type = _needed(form, "grant_type")
        if grant_type == TOKEN_EXCHANGE:
            raise Refused(HTTPStatus.BAD_REQUEST, "unauthorized_client", "token exchange is for the gateway alone")
        if grant_type != CLIENT_CREDENTIALS:
            raise UnsupportedGrantType(f"grant_type must be {CLIENT_CREDENTIALS}, not {grant_type[:100]}")
        issued = await self._tokens.issue(client, form.get("scope", ""))
        content = {
            "access_token": issued.access_token,
            "token_type": TOKEN_TYPE,
            "expires_in": issued.expires_in,
            "scope": format_scope(issued.scopes),
        }
        return JSONResponse(content, headers=NO_STORE)

    async def revoke(self, request: Request) -> Response:
        """Authenticate the client, and revoke the token if it is the client's own. Always 200 (RFC 7009 §2.2).

        No client needs the body, but some try to read it as JSON.
        """
        client, form = await self._authenticated(request)
        await self._tokens.revoke(client, _needed(form, "token"))
        return JSONResponse({}, headers=NO_STORE)

    async def introspect(self, request: Request) -> Response:
        """Authenticate the client, and say what the token is if it may know."""
        client, form = await self._authenticated(request)
        token = await self._tokens.introspect(client, _needed(form, "token"))
        if token is None:
            return JSONResponse({"active": False}, headers=NO_STORE)
        caller = token.caller
        content = {
            "active": True,
            "scope": format_scope(caller.scopes),
            "client_id": caller.client_id,
            "token_type": TOKEN_TYPE,
            "exp": token.expire_time,
            "sub": caller.client_id,
            "iss": self._issuer,
            "jti": token.jti,
            "client_type": caller.client_type.value,
            "platform_id": caller.platform_id,
            "partner_id": caller.partner_id,
        }
        return JSONResponse(content, headers=NO_STORE)

    async def _authenticated(self, request: Request) -> tuple[Client, Mapping[str, str]]:
        form = await read_form(request, self._seconds)
        address = request.client.host if request.client else ""
        return await self._authenticator.authenticate(client_credentials(request, form), address), form


def _needed(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise invalid_request(f"{name} is missing")
    return form[name]
