"""Deletes a registered client (RFC 7592 §2.3)."""

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients.owned import actor_of, find_owned_client
from authserver.clients.store import clients as store
from authserver.revocation.store import News
from mesh.access.revocation import Subject
from mesh.access.rules import Caller


def delete_client(connection: Connection, trail: Trail, caller: Caller, client_id: str) -> None:
    """Delete a client of the caller's platform, with its secrets; its tokens end. Its software statement stays used.

    Raises:
        ClientNotFound: If the platform has no such client.

    """
    client = find_owned_client(connection, caller, client_id, lock=True)
    store.delete_client(connection, client_id)
    news = [News(Subject.CLIENT, client_id)]
    trail.record(connection, actor_of(caller), "client.delete", client_id, news, partner_id=client.partner_id)
