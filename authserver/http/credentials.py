"""How a request says who sends it: client authentication (RFC 6749 §2.3) and bearer tokens (RFC 6750 §2.1)."""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_plus

from starlette.requests import Request

from authserver.clients.authentication_method import AuthMethod
from authserver.clients.presented import Presented, PresentedSecret, presented
from authserver.errors import InvalidClient
from authserver.http.refusals import invalid_request, no_token
from mesh.calls.metadata import bearer_token

_AUTHORIZATION = "authorization"
_ASSERTION = frozenset({"client_assertion", "client_assertion_type"})
_BY_FORM = _ASSERTION | {"client_secret"}


def client_credentials(request: Request, form: Mapping[str, str]) -> Presented:
    """Return what a request presents: a secret in the header or in the form, or an assertion in the form.

    Raises:
        InvalidClient: If there is nothing, or the header can't be read.
        InvalidRequest: If an assertion has no type or another one, or the reverse.
        Refused: If there is more than one of these.

    """
    headers = request.headers.getlist(_AUTHORIZATION)
    if len(headers) + ("client_secret" in form) + bool(_ASSERTION & form.keys()) > 1:
        raise invalid_request("more than one way of client authentication is used at once")
    if headers:
        client_id, client_secret = _basic(headers[0])
        if form.get("client_id", client_id) != client_id:
            raise invalid_request("client_id is not the one that is authenticated")
        return PresentedSecret(client_id, client_secret, frozenset({AuthMethod.CLIENT_SECRET_BASIC}))
    if not _BY_FORM & form.keys():
        raise InvalidClient("client authentication is needed")
    if "client_secret" in form and "client_id" not in form:
        raise invalid_request("client_id is missing")
    return presented(
        form.get("client_id", ""),
        form.get("client_secret", ""),
        form.get("client_assertion_type", ""),
        form.get("client_assertion", ""),
        frozenset({AuthMethod.CLIENT_SECRET_POST}),
    )


def _basic(header: str) -> tuple[str, str]:
    """Return id and secret, which are form-urlencoded first and joined then (RFC 6749 §2.3.1)."""
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError("another scheme")  # noqa: TRY301 - one refusal for all
        text = base64.b64decode(encoded.strip(), validate=True).decode()
        client_id, colon, client_secret = text.partition(":")
        if not colon:
            raise ValueError("no colon")  # noqa: TRY301 - as above
        return unquote_plus(client_id, errors="strict"), unquote_plus(client_secret, errors="strict")
    except (binascii.Error, ValueError) as error:
        raise InvalidClient("the authorization header can't be read as Basic with UTF-8 text") from error


def bearer(request: Request) -> str:
    """Return the one bearer token of a request.

    Raises:
        Refused: If there is none, or more than one header.

    """
    token = bearer_token((_AUTHORIZATION, value) for value in request.headers.getlist(_AUTHORIZATION))
    if token is None:
        raise no_token()
    return token
