"""Gives a client a new secret, beside the old one or in its place."""

from dataclasses import replace

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients.owned import actor_of, find_owned_client
from authserver.clients.register import Credentials
from authserver.clients.secrets import Peppers, new_client_secret
from authserver.clients.store import secrets as store
from authserver.clients.store.blocks import raise_epoch
from authserver.clients.store.clients import Client
from authserver.clients.store.secrets import Secret
from authserver.errors import ClientHasNoSecret
from authserver.revocation.store import Change, News
from mesh.access.revocation import Subject
from mesh.access.rules import Caller
from mesh.errors import InvalidRequest
from mesh.ids import new_id

_LONGEST_OVERLAP_MS = 30 * 24 * 3600 * 1000


def rotate_client_secret(
    connection: Connection,
    peppers: Peppers,
    trail: Trail,
    caller: Caller,
    client_id: str,
    *,
    old_expire_time: int | None,
    now_ms: int,
) -> Credentials:
    """Give a client of the caller's platform a new secret.

    Args:
        connection: To the auth server's database.
        peppers: What secrets are digested with.
        trail: Where it is recorded.
        caller: The Master Client.
        client_id: Whose secret.
        old_expire_time: Until when the newest secret so far goes on working, in milliseconds since the epoch. None: it
            stops at once, and all tokens of the client end. Any older secret is gone in either case.
        now_ms: The time.

    Raises:
        ClientNotFound: If the platform has no such client.
        ClientHasNoSecret: If it authenticates by its keys.
        InvalidRequest: If the time is past, or too far away.

    """
    if old_expire_time is not None and not now_ms < old_expire_time <= now_ms + _LONGEST_OVERLAP_MS:
        raise InvalidRequest({"old_secret_expires_at": "must lie in the next 30 days"})
    client = find_owned_client(connection, caller, client_id, lock=True)
    if not client.authentication.has_secret:
        raise ClientHasNoSecret(f"the client authenticates by {client.authentication.method}: update its jwks instead")
    return replace_secret(
        connection, peppers, trail, actor_of(caller), client, old_expire_time=old_expire_time, now_ms=now_ms
    )


def replace_secret(
    connection: Connection,
    peppers: Peppers,
    trail: Trail,
    actor: str,
    client: Client,
    *,
    old_expire_time: int | None,
    now_ms: int,
) -> Credentials:
    """Give a client that is locked a new secret, whoever asks for it. Arguments as above."""
    client_id = client.client_id
    if old_expire_time is None:
        kept: tuple[Secret, ...] = ()
        raise_epoch(connection, Subject.CLIENT, client_id)
    else:
        kept = tuple(replace(newest, expire_time=old_expire_time) for newest in client.secrets[:1])
        for newest in kept:  # none yet, if the client authenticated by its keys before
            store.expire_secret(connection, newest.secret_id, old_expire_time)
    for secret in client.secrets[len(kept) :]:
        store.delete_secret(connection, secret.secret_id)
    news = News(Subject.CLIENT if old_expire_time is None else Change.CLIENT_CHANGED, client_id)
    client_secret = new_client_secret()
    new = Secret(new_id("sec"), peppers.digest(client_secret), now_ms)
    store.add_secrets(connection, [(client_id, new)])
    overlap = "" if old_expire_time is None else str(old_expire_time)
    trail.record(
        connection,
        actor,
        "client_secret.rotate",
        client_id,
        [news],
        secret_id=new.secret_id,
        old_secret_expire_time=overlap,
    )
    return Credentials(replace(client, secrets=(new, *kept)), client_secret)
