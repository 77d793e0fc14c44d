"""What the auth server does beside answering calls."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy import Connection

from authserver.audit.heads import HeadFile
from authserver.audit.trail import Trail
from authserver.clients.refusals import Refusals
from authserver.clients.secret_uses import SecretUses
from authserver.clients.store.revoked_tokens import forget_expired_tokens
from authserver.clients.store.used_assertions import forget_expired_assertions
from authserver.keys.ring import KeyRing
from authserver.keys.rotation import KeyKeeper, is_work_due, keep_keys
from authserver.revocation.feed import Feed
from authserver.revocation.store import forget_before
from mesh.background import forever
from mesh.storage.database import Database
from mesh.timestamps import to_ms

_log = structlog.get_logger()
_PAUSE_SECONDS = 60.0
# Longer than a gateway may stay away and resume, and than any token lives.
_FEED_SECONDS = 3600


async def keep_tidy(database: Database, uses: SecretUses) -> None:
    """Every minute, and at the end, write down which secrets were used, and forget what nobody can ask for any more."""

    async def tidy() -> None:
        now_ms = to_ms(time.time())
        await uses.write(database)

        def forget(connection: Connection) -> None:
            forget_expired_tokens(connection, now_ms)
            forget_expired_assertions(connection, now_ms)
            forget_before(connection, now_ms - _FEED_SECONDS * 1000)

        await database.run(forget)

    await _to_the_end(tidy)


async def keep_keys_in_time(key_ring: KeyRing, feed: Feed, keeper: KeyKeeper) -> None:
    """Every minute, and when a key has changed, read the keys anew and do what is due."""

    async def keep() -> None:
        stored, now_ms = await key_ring.reload(), to_ms(time.time())
        if is_work_due(stored, keeper, now_ms):
            await feed.run(lambda connection: keep_keys(connection, keeper, now_ms))

    await forever(keep, _PAUSE_SECONDS, key_ring.changed)


async def keep_account(database: Database, trail: Trail, refusals: Refusals, heads: HeadFile | None) -> None:
    """Every minute, and at the end, count refused authentications in the audit log, and export its head."""

    async def account() -> None:
        await refusals.write(database, trail)
        if heads:
            await heads.export(database)

    await _to_the_end(account)


async def _to_the_end(work: Callable[[], Awaitable[None]]) -> None:
    """Do a piece of work every minute, and once more at the end."""
    try:
        await forever(work, _PAUSE_SECONDS, asyncio.Event())
    finally:
        try:
            await work()
        except Exception:  # noqa: BLE001 - a server must come to its end
            _log.exception("the last minute's work is lost")
