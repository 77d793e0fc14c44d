"""Revokes access tokens one by one (RFC 7009)."""

import hashlib

from sqlalchemy import Connection

from authserver.access_tokens import TokenRejected, TokenSealer
from authserver.audit.trail import Trail
from authserver.clients.store.blocks import raise_epoch
from authserver.clients.store.clients import find_client
from authserver.clients.store.revoked_tokens import add_revoked_token, forget_revoked_tokens
from authserver.revocation.store import Change, News
from mesh.access.revocation import Subject

# What is remembered of each client's revoked tokens; beyond, all its tokens end.
_MAX = 100


def token_digest(token: str) -> bytes:
    """Return what stands for a token where the token itself must not lie: its SHA-256."""
    return hashlib.sha256(token.encode()).digest()


def revoke_token(
    connection: Connection, trail: Trail, sealer: TokenSealer, client_id: str, sealed: str, now: float
) -> None:
    """End a token of the client's own. Anything else that it is given has no effect (RFC 7009 §2.2)."""
    try:
        token = sealer.open(sealed)
    except TokenRejected:
        return
    client = find_client(connection, client_id)
    digest = token_digest(sealed)
    if (
        client is None
        or token.caller.client_id != client_id
        or now >= token.expire_time
        or token.epochs != client.epochs
        or digest in client.revoked_tokens
    ):
        return
    actor = f"client:{client_id}"
    if len(client.revoked_tokens) < _MAX:
        add_revoked_token(connection, client_id, digest, token.expire_time * 1000)
        news = [News(Subject.TOKEN, digest.hex()), News(Change.CLIENT_CHANGED, client_id)]  # for gateways, for replicas
        trail.record(connection, actor, "token.revoke", token.jti, news, client_id=client_id)
    else:
        raise_epoch(connection, Subject.CLIENT, client_id)
        forget_revoked_tokens(connection, client_id)
        trail.record(connection, actor, "client.revoke_tokens", client_id, [News(Subject.CLIENT, client_id)])
