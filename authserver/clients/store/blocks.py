"""Who is blocked, and the epochs that end tokens."""

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy import bindparam as bind

from authserver.revocation.counters import beyond_what_was_lost
from authserver.tables import blocks, clients, partners, platforms
from mesh.access.revocation import HOLDERS, Subject

_ID = {"CLIENT": clients.c.client_id, "PARTNER": partners.c.partner_id, "PLATFORM": platforms.c.platform_id}


_RAISE = {
    holder: update(_ID[holder].table).where(_ID[holder] == bind("subject")).values(epoch=_ID[holder].table.c.epoch + 1)
    for holder in HOLDERS
}
_EXISTS = {holder: select(_ID[holder]).where(_ID[holder] == bind("subject")) for holder in HOLDERS}
_RAISE_ALL = [
    update(table).values(epoch=beyond_what_was_lost(table.c.epoch)) for table in (clients, partners, platforms)
]
_KEY = (blocks.c.kind == bind("its_kind"), blocks.c.id == bind("its_id"))
_FIND = select(blocks.c.id).where(*_KEY)
_INSERT = insert(blocks)
_DELETE = delete(blocks).where(*_KEY)


def raise_epoch(connection: Connection, holder: Subject, subject: str) -> None:
    """End all tokens of a client, of a partner's clients, or of a platform and its partners, if it exists."""
    connection.execute(_RAISE[holder], {"subject": subject})


def raise_all_epochs(connection: Connection, now_ms: int) -> None:
    """End all tokens there are, those issued after the backup was made that this database was restored from too."""
    for statement in _RAISE_ALL:
        connection.execute(statement, {"now_us": now_ms * 1000})


def exists(connection: Connection, holder: Subject, subject: str) -> bool:
    """Return whether there is such a client, partner or platform."""
    return connection.execute(_EXISTS[holder], {"subject": subject}).one_or_none() is not None


def is_blocked(connection: Connection, holder: Subject, subject: str) -> bool:
    """Return whether a client, partner or platform is itself blocked."""
    return connection.execute(_FIND, {"its_kind": holder, "its_id": subject}).one_or_none() is not None


def add_block(connection: Connection, holder: Subject, subject: str, now_ms: int) -> None:
    """Block a client, partner or platform."""
    connection.execute(_INSERT, {"kind": holder, "id": subject, "create_time": now_ms})


def remove_block(connection: Connection, holder: Subject, subject: str) -> None:
    """Unblock a client, partner or platform."""
    connection.execute(_DELETE, {"its_kind": holder, "its_id": subject})
