"""Platforms and their partners in the database."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy import bindparam as bind

from authserver.clients.scopes import format_scope, parse_scope
from authserver.tables import partners, platforms

_FIND = select(platforms.c.scope, platforms.c.max_clients).where(platforms.c.platform_id == bind("platform"))
_LOCK = _FIND.with_for_update(key_share=True)
_LIST = select(platforms).order_by(platforms.c.platform_id)
_INSERT = insert(platforms)
_SET = (
    update(platforms)
    .where(platforms.c.platform_id == bind("id"))
    .values(scope=bind("new_scope"), max_clients=bind("new_max_clients"))
)
_PARTNER_PLATFORM = select(partners.c.platform_id).where(partners.c.partner_id == bind("partner"))
_INSERT_PARTNER = insert(partners)


@dataclass(frozen=True, slots=True)
class Platform:
    """What a platform's partners may have: scopes at most, and how many clients together."""

    ceiling: frozenset[str]
    max_clients: int


def find_platform(connection: Connection, platform_id: str, *, lock: bool = False) -> Platform | None:
    """Return a platform; None if there is none. If locked, nobody else registers clients till the transaction ends."""
    row = connection.execute(_LOCK if lock else _FIND, {"platform": platform_id}).one_or_none()
    return None if row is None else Platform(parse_scope(row.scope), row.max_clients)


def add_platform(connection: Connection, platform_id: str, platform: Platform, now_ms: int) -> None:
    """Add a platform."""
    row = {
        "platform_id": platform_id,
        "scope": format_scope(platform.ceiling),
        "max_clients": platform.max_clients,
        "epoch": 0,
        "create_time": now_ms,
    }
    connection.execute(_INSERT, row)


def list_platforms(connection: Connection) -> Mapping[str, Platform]:
    """Return all platforms by their ids."""
    return {row.platform_id: Platform(parse_scope(row.scope), row.max_clients) for row in connection.execute(_LIST)}


def set_platform(connection: Connection, platform_id: str, platform: Platform) -> None:
    """Change what a platform's partners may have."""
    scope = format_scope(platform.ceiling)
    connection.execute(_SET, {"id": platform_id, "new_scope": scope, "new_max_clients": platform.max_clients})


def find_partner_platform(connection: Connection, partner_id: str) -> str | None:
    """Return the platform that a partner belongs to; None if the partner is not known here."""
    return connection.execute(_PARTNER_PLATFORM, {"partner": partner_id}).scalar_one_or_none()


def add_partner(connection: Connection, partner_id: str, platform_id: str, now_ms: int) -> None:
    """Add a partner."""
    row = {"partner_id": partner_id, "platform_id": platform_id, "epoch": 0, "create_time": now_ms}
    connection.execute(_INSERT_PARTNER, row)
