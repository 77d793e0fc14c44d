"""Clients' secrets in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update
from sqlalchemy import bindparam as bind

from authserver.clients.secrets import Digest
from authserver.tables import client_secrets

_LIST = (
    select(client_secrets)
    .where(client_secrets.c.client_id.in_(bind("client_ids", expanding=True)))
    # The newest is the one that does not expire; clocks may tell otherwise.
    .order_by(client_secrets.c.expire_time.desc().nulls_first(), client_secrets.c.secret_id.desc())
)
_INSERT = insert(client_secrets)
_EXPIRE = (
    update(client_secrets).where(client_secrets.c.secret_id == bind("id")).values(expire_time=bind("new_expire_time"))
)
_DELETE = delete(client_secrets).where(client_secrets.c.secret_id == bind("id"))
_DELETE_ALL = delete(client_secrets).where(client_secrets.c.client_id == bind("id"))
_USE = update(client_secrets).where(client_secrets.c.secret_id == bind("id")).values(last_use_time=bind("new_use_time"))
_REDIGEST = (
    update(client_secrets)
    .where(client_secrets.c.secret_id == bind("id"))
    .values(digest=bind("new_digest"), pepper_id=bind("new_pepper_id"))
)
_COUNT = (
    select(client_secrets.c.pepper_id, func.count().label("secrets"))
    .where(or_(client_secrets.c.expire_time.is_(None), client_secrets.c.expire_time > bind("now")))
    .group_by(client_secrets.c.pepper_id)
)


@dataclass(frozen=True, slots=True)
class Secret:
    """What is kept of a client's secret.

    Attributes:
        secret_id: Its id.
        digest: Its digest, and which pepper that was made with.
        create_time: When it was made, in milliseconds since the epoch.
        expire_time: When it stops working; None if it does not.
        last_use_time: When it was last used, to about a minute; None if never.

    """

    secret_id: str
    digest: Digest
    create_time: int
    expire_time: int | None = None
    last_use_time: int | None = None

    def works_at(self, now_ms: int) -> bool:
        """Return whether it is not expired."""
        return self.expire_time is None or now_ms < self.expire_time


def list_secrets(connection: Connection, client_ids: Sequence[str]) -> Mapping[str, Sequence[Secret]]:
    """Return the secrets of clients by the clients' ids, each client's newest first."""
    found: dict[str, list[Secret]] = {client_id: [] for client_id in client_ids}
    for row in connection.execute(_LIST, {"client_ids": client_ids}):
        found[row.client_id].append(_secret(row))
    return found


def add_secrets(connection: Connection, added: Sequence[tuple[str, Secret]]) -> None:
    """Add secrets to clients, whose ids stand beside them."""
    connection.execute(_INSERT, [_row(client_id, secret) for client_id, secret in added])


def expire_secret(connection: Connection, secret_id: str, expire_time: int) -> None:
    """Set when a secret stops working, in milliseconds since the epoch."""
    connection.execute(_EXPIRE, {"id": secret_id, "new_expire_time": expire_time})


def delete_secret(connection: Connection, secret_id: str) -> None:
    """Remove a secret."""
    connection.execute(_DELETE, {"id": secret_id})


def delete_secrets(connection: Connection, client_id: str) -> None:
    """Remove all secrets of a client."""
    connection.execute(_DELETE_ALL, {"id": client_id})


def record_uses(connection: Connection, uses: Sequence[tuple[str, int]]) -> None:
    """Record when secrets were last used, in milliseconds since the epoch."""
    if uses:
        connection.execute(_USE, [{"id": secret_id, "new_use_time": time} for secret_id, time in uses])


def redigest_secrets(connection: Connection, digests: Sequence[tuple[str, Digest]]) -> None:
    """Replace the digests of secrets, which themselves stay the same."""
    if digests:
        rows = [
            {"id": secret_id, "new_digest": digest.mac, "new_pepper_id": digest.pepper_id}
            for secret_id, digest in digests
        ]
        connection.execute(_REDIGEST, rows)


def count_secrets(connection: Connection, now_ms: int) -> Mapping[int, int]:
    """Return how many secrets that work were digested with each pepper, by its id."""
    return {row.pepper_id: row.secrets for row in connection.execute(_COUNT, {"now": now_ms})}


def _row(client_id: str, secret: Secret) -> dict[str, object]:
    return {
        "secret_id": secret.secret_id,
        "client_id": client_id,
        "digest": secret.digest.mac,
        "pepper_id": secret.digest.pepper_id,
        "create_time": secret.create_time,
        "expire_time": secret.expire_time,
        "last_use_time": secret.last_use_time,
    }


def _secret(row: Row[*tuple[Any, ...]]) -> Secret:
    return Secret(
        row.secret_id, Digest(row.pepper_id, bytes(row.digest)), row.create_time, row.expire_time, row.last_use_time
    )
