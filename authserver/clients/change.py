"""Changes what a client is called, may ask for and authenticates by, whoever asks for it."""

from dataclasses import replace

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients.authentication_method import ClientAuthentication
from authserver.clients.scopes import format_scope
from authserver.clients.store import clients as store
from authserver.clients.store.blocks import raise_epoch
from authserver.clients.store.clients import Client
from authserver.clients.store.secrets import delete_secrets
from authserver.revocation.store import Change, News
from mesh.access.revocation import Subject


def change_client(connection: Connection, trail: Trail, actor: str, client: Client, changed: Client) -> Client:
    """Replace a client that is locked; return it as it is then.

    Losing a scope, a key or its secrets ends the client's tokens. A client that goes from keys to a secret has none
    until it is given one.

    Args:
        connection: To the auth server's database.
        trail: Where it is recorded.
        actor: Who changes it, as the audit log names them.
        client: The client as it is.
        changed: The client with another name, other scopes or another authentication.

    """
    if changed == client:
        return client
    old, new, client_id = client.authentication, changed.authentication, client.client_id
    store.update_client(connection, client_id, changed.client_name, changed.scopes)
    if new != old:
        store.update_authentication(connection, client_id, new)
        if not new.has_secret:
            delete_secrets(connection, client_id)
            changed = replace(changed, secrets=())
    narrowed = not client.scopes <= changed.scopes or _loses_credentials(old, new)
    if narrowed:
        raise_epoch(connection, Subject.CLIENT, client_id)
    news = News(Subject.CLIENT if narrowed else Change.CLIENT_CHANGED, client_id)
    details = {"scope": format_scope(changed.scopes), **_changes(old, new)}
    trail.record(connection, actor, "client.update", client_id, [news], **details)
    return changed


def _loses_credentials(old: ClientAuthentication, new: ClientAuthentication) -> bool:
    return old.has_secret > new.has_secret or any(key not in new.keys for key in old.keys)


def _changes(old: ClientAuthentication, new: ClientAuthentication) -> dict[str, str]:
    """Return what an audit line says of a change: which method, and how many keys came and went."""
    if old == new:
        return {}
    return {
        "token_endpoint_auth_method": new.method.value,
        "keys_added": str(sum(key not in old.keys for key in new.keys)),
        "keys_removed": str(sum(key not in new.keys for key in old.keys)),
    }
