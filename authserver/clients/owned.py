"""The registered clients of a platform, which its Master Client sees, changes and deletes (RFC 7592)."""

from dataclasses import replace

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients.authentication_method import ClientAuthentication
from authserver.clients.change import change_client
from authserver.clients.scopes import grant_scope
from authserver.clients.store import clients as store
from authserver.clients.store.clients import Client, find_client
from authserver.clients.store.platforms import find_platform
from authserver.errors import ClientNotFound, InvalidScope
from authserver.revocation.store import News
from mesh.access.revocation import Subject
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


def update_client(
    connection: Connection,
    trail: Trail,
    caller: Caller,
    client_id: str,
    *,
    client_name: str,
    scope: str,
    authentication: ClientAuthentication | None = None,
) -> Client:
    """Replace name and scope of a client of the caller's platform, and how it authenticates, unless that is None.

    What that ends, `change_client` says.

    Raises:
        ClientNotFound: If the platform has no such client.
        InvalidScope: If the scope goes beyond the platform's ceiling, or beyond the client's own if that is the caller.

    """
    client = find_owned_client(connection, caller, client_id, lock=True)
    platform = find_platform(connection, client.platform_id)
    if platform is None:
        raise InvalidScope("the client's platform grants nothing")
    # A client that manages itself, by its registration access token, keeps to what its platform has given it.
    ceiling = platform.ceiling & client.scopes if caller.client_id == client_id else platform.ceiling
    if not ceiling:
        raise InvalidScope("the client's platform grants nothing of what the client has")
    scopes, authentication = grant_scope(scope, ceiling), authentication or client.authentication
    changed = replace(client, client_name=client_name, scopes=scopes, authentication=authentication)
    return change_client(connection, trail, actor_of(caller), client, changed)


def delete_client(connection: Connection, trail: Trail, caller: Caller, client_id: str) -> None:
    """Delete a client of the caller's platform, with its secrets; its tokens end. Its software statement stays used.

    Raises:
        ClientNotFound: If the platform has no such client.

    """
    client = find_owned_client(connection, caller, client_id, lock=True)
    store.delete_client(connection, client_id)
    news = [News(Subject.CLIENT, client_id)]
    trail.record(connection, actor_of(caller), "client.delete", client_id, news, partner_id=client.partner_id)
