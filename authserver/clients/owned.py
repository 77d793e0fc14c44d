"""Which clients a Master Client sees and touches: the registered ones of its own platform."""

from sqlalchemy import Connection

from authserver.clients.store.clients import Client, find_client
from authserver.errors import ClientNotFound
from mesh.access.rules import Caller, ClientType


def find_owned_client(connection: Connection, caller: Caller, client_id: str, *, lock: bool = False) -> Client:
    """Return a client of the caller's platform; if locked, nobody else changes it until the transaction ends.

    Raises:
        ClientNotFound: If there is none, or it is another platform's, or it is not a partner's.

    """
    client = find_client(connection, client_id, lock=lock)
    if client is None or client.client_type != ClientType.PARTNER or client.platform_id != caller.platform_id:
        raise ClientNotFound("this platform has no such client")
    return client


def actor_of(caller: Caller) -> str:
    """Return how the audit log names a caller."""
    return f"client:{caller.client_id}"
