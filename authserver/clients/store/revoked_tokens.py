"""Tokens that were revoked one by one."""

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy import bindparam as bind

from authserver.tables import revoked_tokens

_LIST = select(revoked_tokens.c.digest).where(revoked_tokens.c.client_id == bind("client_id"))
_INSERT = insert(revoked_tokens)
_DELETE_OF = delete(revoked_tokens).where(revoked_tokens.c.client_id == bind("client_id"))
_DELETE_EXPIRED = delete(revoked_tokens).where(revoked_tokens.c.expire_time <= bind("now"))


def revoked_tokens_of(connection: Connection, client_id: str) -> frozenset[bytes]:
    """Return the digests of a client's revoked tokens."""
    return frozenset(map(bytes, connection.execute(_LIST, {"client_id": client_id}).scalars()))


def add_revoked_token(connection: Connection, client_id: str, digest: bytes, expire_time: int) -> None:
    """Remember a token as revoked until it expires, in milliseconds since the epoch."""
    connection.execute(_INSERT, {"digest": digest, "client_id": client_id, "expire_time": expire_time})


def forget_revoked_tokens(connection: Connection, client_id: str) -> None:
    """Forget a client's revoked tokens, which a raised epoch has ended with all others."""
    connection.execute(_DELETE_OF, {"client_id": client_id})


def forget_expired_tokens(connection: Connection, now_ms: int) -> None:
    """Forget the revoked tokens that are expired by now."""
    connection.execute(_DELETE_EXPIRED, {"now": now_ms})
