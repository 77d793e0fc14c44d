"""Registration access tokens in the database: at most one a client."""

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy import bindparam as bind

from authserver.clients.secrets import Digest
from authserver.tables import registration_access_tokens as table

_FIND = select(table.c.pepper_id, table.c.digest).where(table.c.client_id == bind("id"))
_INSERT = insert(table)
_REDIGEST = (
    update(table).where(table.c.client_id == bind("id")).values(digest=bind("new_digest"), pepper_id=bind("new_pepper"))
)
_DELETE = delete(table).where(table.c.client_id == bind("id"))


def find_registration_access(connection: Connection, client_id: str) -> Digest | None:
    """Return the digest of a client's token; None if it has none."""
    if "\0" in client_id:  # PostgreSQL takes no such text, not even to look for it
        return None
    row = connection.execute(_FIND, {"id": client_id}).one_or_none()
    return None if row is None else Digest(row.pepper_id, bytes(row.digest))


def add_registration_access(connection: Connection, client_id: str, digest: Digest, now_ms: int) -> None:
    """Store the digest of a new token for a client that has none."""
    row = {"client_id": client_id, "digest": digest.mac, "pepper_id": digest.pepper_id, "create_time": now_ms}
    connection.execute(_INSERT, row)


def redigest_registration_access(connection: Connection, client_id: str, digest: Digest) -> None:
    """Replace the digest of a client's token, which itself stays the same."""
    connection.execute(_REDIGEST, {"id": client_id, "new_digest": digest.mac, "new_pepper": digest.pepper_id})


def delete_registration_access(connection: Connection, client_id: str) -> None:
    """Remove a client's token, if it has one."""
    connection.execute(_DELETE, {"id": client_id})
