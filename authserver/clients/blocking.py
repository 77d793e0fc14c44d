"""Blocks clients, partners and platforms, and unblocks them."""

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients.store.blocks import add_block, is_blocked, raise_epoch, remove_block
from authserver.revocation.store import Change, News
from mesh.access.revocation import Subject


def block(connection: Connection, trail: Trail, actor: str, holder: Subject, subject: str, now_ms: int) -> None:
    """Block a client, a partner with its clients, or a platform with its partners; their tokens end at once.

    Whoever is blocked stays so, unchanged. A partner may be blocked before it has a client.
    """
    if is_blocked(connection, holder, subject):
        return
    add_block(connection, holder, subject, now_ms)
    revoke(connection, trail, actor, holder, subject, action=f"{holder.lower()}.block")


def unblock(connection: Connection, trail: Trail, actor: str, holder: Subject, subject: str) -> None:
    """Unblock a client, partner or platform. Tokens from before stay dead."""
    if not is_blocked(connection, holder, subject):
        return
    remove_block(connection, holder, subject)
    # A partner's first client may have come while the block was under way, too late for its epoch to be raised.
    raise_epoch(connection, holder, subject)
    trail.record(connection, actor, f"{holder.lower()}.unblock", subject, [News(Change[f"{holder}_CHANGED"], subject)])


def revoke(
    connection: Connection, trail: Trail, actor: str, holder: Subject, subject: str, *, action: str = ""
) -> None:
    """End all tokens of a client, of a partner's clients, or of a platform and its partners. They may take new ones."""
    raise_epoch(connection, holder, subject)
    trail.record(connection, actor, action or f"{holder.lower()}.revoke_tokens", subject, [News(holder, subject)])
