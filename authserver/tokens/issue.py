"""Issues access tokens by the client credentials grant (RFC 6749 §4.4)."""

import math
import secrets
from dataclasses import dataclass

from authserver.access_tokens import AccessToken, TokenSealer
from authserver.clients.scopes import grant_scope
from authserver.clients.store.clients import Client
from mesh.access.rules import Caller

TOKEN_TYPE = "Bearer"  # noqa: S105 - the type of the tokens (RFC 6750)

_JTI_BYTES = 12


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token and what goes with it.

    Attributes:
        access_token: The token.
        expires_in: Seconds until it expires.
        scopes: What it may be used for.

    """

    access_token: str
    expires_in: int
    scopes: frozenset[str]


def issue_token(sealer: TokenSealer, client: Client, scope: str, *, now: float, ttl_seconds: int) -> IssuedToken:
    """Issue a token to a client that has authenticated. Writes nothing.

    Raises:
        InvalidScope: If the scope goes beyond the client's.

    """
    scopes = grant_scope(scope, client.scopes)
    caller = Caller(client.client_id, client.client_type, client.platform_id, client.partner_id, scopes)
    token = AccessToken(caller, secrets.token_hex(_JTI_BYTES), math.ceil(now) + ttl_seconds, client.epochs)
    return IssuedToken(sealer.seal(token), ttl_seconds, scopes)
