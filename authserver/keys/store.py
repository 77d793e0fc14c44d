"""The auth server's own keys in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy import bindparam as bind

from authserver.keys.schedule import KeyTimes, Use
from authserver.tables import feed_head, keys

_LOCK = select(feed_head.c.position).with_for_update()
_LIST = select(keys).where(keys.c.material != b"").order_by(keys.c.key_id)
_INSERT = insert(keys).returning(keys.c.key_id)
_SET_TIMES = (
    update(keys)
    .where(keys.c.key_id == bind("id"))
    .values(activate_time=bind("new_activate_time"), retire_time=bind("new_retire_time"))
)
_SET_MATERIAL = update(keys).where(keys.c.key_id == bind("id")).values(material=bind("new_material"))


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it lies in the database.

    Attributes:
        use: What it is for.
        material: The key, sealed under the key-encryption key.
        create_time: When it was made, in milliseconds since the epoch.
        times: Its id, and when it is used.

    """

    use: Use
    material: bytes
    create_time: int
    times: KeyTimes


def lock_keys(connection: Connection) -> None:
    """Keep everyone else from changing keys until the transaction ends.

    Locks the head of the feed, which each change is published to in the end; nothing must be locked before.
    """
    connection.execute(_LOCK).one()


def list_keys(connection: Connection) -> Sequence[StoredKey]:
    """Return all keys that are not destroyed, the oldest first."""
    return [_key(row) for row in connection.execute(_LIST)]


def add_key(connection: Connection, use: Use, material: bytes, create_time: int, activate_time: int) -> StoredKey:
    """Add a key, and return it with the id that it got."""
    row = {"use": use.value, "material": material, "create_time": create_time, "activate_time": activate_time}
    key_id = connection.execute(_INSERT, row).scalar_one()
    return StoredKey(use, material, create_time, KeyTimes(key_id, activate_time))


def set_key_times(connection: Connection, times: KeyTimes) -> None:
    """Change when a key is used."""
    row = {"id": times.key_id, "new_activate_time": times.activate_time, "new_retire_time": times.retire_time}
    connection.execute(_SET_TIMES, row)


def replace_key_material(connection: Connection, key_id: int, material: bytes) -> None:
    """Replace how a key is sealed; the key itself stays the same."""
    connection.execute(_SET_MATERIAL, {"id": key_id, "new_material": material})


def destroy_key(connection: Connection, key_id: int) -> None:
    """Destroy a key. Its row stays, so that no other key ever gets its id."""
    connection.execute(_SET_MATERIAL, {"id": key_id, "new_material": b""})


def _key(row: Row[*tuple[Any, ...]]) -> StoredKey:
    times = KeyTimes(row.key_id, row.activate_time, row.retire_time)
    return StoredKey(Use(row.use), bytes(row.material), row.create_time, times)
