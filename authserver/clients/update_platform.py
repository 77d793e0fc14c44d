"""Changes what a platform may have."""

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients.scopes import format_scope, parse_scope
from authserver.clients.store.platforms import Platform, find_platform, set_platform


def update_platform(
    connection: Connection,
    trail: Trail,
    actor: str,
    platform_id: str,
    max_clients: int | None = None,
    added: frozenset[str] = frozenset(),
) -> Platform | None:
    """Change how many clients a platform's partners may have, and raise its ceiling; return what it may have then.

    Registrations under way count by the old number or by the new one; clients that are registered stay as they are. A
    ceiling is never lowered: clients would keep what they have.

    Args:
        connection: Where to change it.
        trail: Where to record it.
        actor: Who does it.
        platform_id: The platform; if there is none, so is the answer.
        max_clients: How many clients its partners may have together; None for as many as before.
        added: Scopes that its partners' clients may have beside those before.

    Raises:
        InvalidScope: If the scopes are too long together.

    """
    before = find_platform(connection, platform_id, lock=True)
    if before is None:
        return None
    ceiling = parse_scope(format_scope(before.ceiling | added))
    after = Platform(ceiling, before.max_clients if max_clients is None else max_clients)
    if after == before:
        return after
    changes = {}
    if after.max_clients != before.max_clients:
        changes = {"max_clients": str(after.max_clients), "before": str(before.max_clients)}
    if after.ceiling != before.ceiling:
        changes["added_scope"] = format_scope(after.ceiling - before.ceiling)
    set_platform(connection, platform_id, after)
    trail.record(connection, actor, "platform.update", platform_id, (), **changes)
    return after
