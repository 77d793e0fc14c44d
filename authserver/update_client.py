"""Changes what a registered client is called and may ask for (RFC 7592 §2.2)."""

from dataclasses import replace

from sqlalchemy import Connection

from authserver.errors import InvalidScope
from authserver.owned_clients import actor_of, find_owned_client
from authserver.scopes import format_scope, grant_scope
from authserver.store import clients as store
from authserver.store.blocks import Holder, raise_epoch
from authserver.store.clients import Client
from authserver.store.feed import Kind, News
from authserver.store.platforms import find_platform
from authserver.trail import Trail
from mesh.access.rules import Caller


def update_client(
    connection: Connection, trail: Trail, caller: Caller, client_id: str, *, client_name: str, scope: str
) -> Client:
    """Replace name and scope of a client of the caller's platform; losing a scope ends the client's tokens.

    Raises:
        ClientNotFound: If the platform has no such client.
        InvalidScope: If the scope goes beyond the platform's ceiling.

    """
    client = find_owned_client(connection, caller, client_id, lock=True)
    platform = find_platform(connection, client.platform_id)
    if platform is None:
        raise InvalidScope("the client's platform grants nothing")
    scopes = grant_scope(scope, platform.ceiling)
    if (client_name, scopes) == (client.client_name, client.scopes):
        return client
    store.update_client(connection, client_id, client_name, scopes)
    narrowed = not client.scopes <= scopes
    if narrowed:
        raise_epoch(connection, Holder.CLIENT, client_id)
    news = News(Kind.CLIENT if narrowed else Kind.CLIENT_CHANGED, client_id)
    trail.record(connection, actor_of(caller), "client.update", client_id, [news], scope=format_scope(scopes))
    return replace(client, client_name=client_name, scopes=scopes)
