"""Shuts clients, partners and platforms out, and lets them in again."""

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients.store.blocks import Holder, add_block, is_blocked, raise_epoch, remove_block
from authserver.revocation.store import Kind, News

_CHANGED = {
    Holder.CLIENT: Kind.CLIENT_CHANGED,
    Holder.PARTNER: Kind.PARTNER_CHANGED,
    Holder.PLATFORM: Kind.PLATFORM_CHANGED,
}


def block(connection: Connection, trail: Trail, actor: str, holder: Holder, subject: str, now_ms: int) -> None:
    """Shut out a client, a partner with its clients, or a platform with its partners; their tokens end at once.

    Whoever is shut out stays so, unchanged. A partner may be shut out before it has a client.
    """
    if is_blocked(connection, holder, subject):
        return
    add_block(connection, holder, subject, now_ms)
    revoke(connection, trail, actor, holder, subject, action=f"{holder.lower()}.block")


def unblock(connection: Connection, trail: Trail, actor: str, holder: Holder, subject: str) -> None:
    """Let a client, partner or platform in again. Tokens from before stay dead."""
    if not is_blocked(connection, holder, subject):
        return
    remove_block(connection, holder, subject)
    # A partner's first client may have come while the block was under way, too late for its epoch to be raised.
    raise_epoch(connection, holder, subject)
    trail.record(connection, actor, f"{holder.lower()}.unblock", subject, [News(_CHANGED[holder], subject)])


def revoke(connection: Connection, trail: Trail, actor: str, holder: Holder, subject: str, *, action: str = "") -> None:
    """End all tokens of a client, of a partner's clients, or of a platform and its partners. They may take new ones."""
    raise_epoch(connection, holder, subject)
    trail.record(connection, actor, action or f"{holder.lower()}.revoke_tokens", subject, [News(Kind[holder], subject)])
