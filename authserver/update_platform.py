"""Changes what a platform may have."""

from sqlalchemy import Connection

from authserver.store.platforms import find_platform, set_max_clients
from authserver.trail import Trail


def update_platform(connection: Connection, trail: Trail, actor: str, platform_id: str, max_clients: int) -> bool:
    """Change how many clients a platform's partners may have together; return whether there is such a platform.

    Registrations under way count by the old number or by the new one; clients that are registered stay.
    """
    platform = find_platform(connection, platform_id, lock=True)
    if platform is None:
        return False
    if platform.max_clients != max_clients:
        set_max_clients(connection, platform_id, max_clients)
        trail.record(
            connection,
            actor,
            "platform.update",
            platform_id,
            max_clients=str(max_clients),
            before=str(platform.max_clients),
        )
    return True
