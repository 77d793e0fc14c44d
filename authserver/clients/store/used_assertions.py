"""The assertions that clients have authenticated by, kept until these would be refused as expired anyway."""

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy import bindparam as bind

from authserver.tables import used_assertions

_FIND = select(used_assertions.c.expire_time).where(
    used_assertions.c.client_id == bind("client_id"), used_assertions.c.jti_digest == bind("jti_digest")
)
_INSERT = insert(used_assertions)
_DELETE_EXPIRED = delete(used_assertions).where(used_assertions.c.expire_time <= bind("now"))


def use_assertion(connection: Connection, client_id: str, jti_digest: bytes, expire_time: int) -> bool:
    """Record that an assertion was used; return False if it had been before.

    Of two at once, the primary key lets one insert its row; the other one's unit of work is run again, and finds it.
    """
    key = {"client_id": client_id, "jti_digest": jti_digest}
    if connection.execute(_FIND, key).first():
        return False
    connection.execute(_INSERT, {**key, "expire_time": expire_time})
    return True


def forget_expired_assertions(connection: Connection, now_ms: int) -> None:
    """Forget the assertions that are expired by now."""
    connection.execute(_DELETE_EXPIRED, {"now": now_ms})
