"""Client authentication (RFC 6749 §2.3)."""

from sqlalchemy import Connection

from authserver import client_secrets
from authserver.errors import InvalidClient
from authserver.store import Client, find_client


def authenticate(connection: Connection, pepper: bytes, client_id: str, client_secret: str) -> Client:
    """Return the client that the id and the secret belong to.

    Raises:
        InvalidClient: If there is no such client, or the secret is wrong: the same words, after the same work.

    """
    client = find_client(connection, client_id)
    stored = client.secret_digest if client else client_secrets.NO_DIGEST
    if not client_secrets.matches(pepper, client_secret, stored) or client is None:
        raise InvalidClient("client authentication failed: unknown client or wrong secret")
    return client
