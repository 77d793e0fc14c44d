"""Says what access tokens are good for (RFC 7662)."""

from authserver.access_tokens import AccessToken
from authserver.clients.store.clients import Client
from authserver.errors import InvalidToken
from authserver.tokens.exchange import TokenChecker
from mesh.access.rules import ClientType


async def introspect_token(tokens: TokenChecker, client: Client, sealed: str) -> AccessToken | None:
    """Return what a token says, to a client that has authenticated; None if it does not hold, or is not theirs to know.

    A client may know of its own tokens, a Master Client of all its platform's.

    Raises:
        DatabaseUnavailable: If the database is needed, and can't be reached.

    """
    try:
        token = (await tokens.check(sealed)).token
    except InvalidToken:
        return None
    its_own = token.caller.client_id == client.client_id
    its_platforms = client.client_type == ClientType.MASTER and token.caller.platform_id == client.platform_id
    return token if its_own or its_platforms else None
