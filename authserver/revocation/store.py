"""The feed of what replicas and gateways must hear of: revocations, and changes of what they keep in memory."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy import bindparam as bind

from authserver.revocation.counters import beyond_what_was_lost
from authserver.tables import feed, feed_head
from mesh.access.revocation import Subject

_AT_ONCE = 500

# The newest position, and the one before the oldest entry that is kept: whatever is published changes it.
HEAD = select(feed_head.c.position, feed_head.c.start)

_POSITION = select(feed_head.c.position)
_ADVANCE = update(feed_head).values(position=feed_head.c.position + bind("step")).returning(feed_head.c.position)
_LEAP = update(feed_head).values(position=beyond_what_was_lost(feed_head.c.position)).returning(feed_head.c.position)
_INSERT = insert(feed)
_AFTER = select(feed).where(feed.c.position > bind("position")).order_by(feed.c.position).limit(bind("most"))
_LAST_OLD = select(func.max(feed.c.position)).where(feed.c.create_time < bind("before"))
_SET_START = update(feed_head).where(feed_head.c.start < bind("new_start")).values(start=bind("new_start"))
_DELETE = delete(feed).where(feed.c.position <= bind("last"))


class Change(enum.StrEnum):
    """What ends no token, but is kept in the replicas' memory."""

    CLIENT_CHANGED = "CLIENT_CHANGED"
    PARTNER_CHANGED = "PARTNER_CHANGED"
    PLATFORM_CHANGED = "PLATFORM_CHANGED"
    KEYS_CHANGED = "KEYS_CHANGED"


@dataclass(frozen=True, slots=True)
class News:
    """Something to tell.

    Attributes:
        what: Whose tokens are good no more, or what has changed.
        name: The id, or the token's digest in hexadecimal; empty for everything.

    """

    what: Subject | Change
    name: str = ""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """News at a position of the feed."""

    position: int
    news: News


@dataclass(frozen=True, slots=True)
class Stretch:
    """What comes after a position of the feed.

    Attributes:
        entries: In the order of their positions.
        reached: The position up to which these are all.
        last: Whether nothing came after it yet.

    """

    entries: Sequence[FeedEntry]
    reached: int
    last: bool


def publish(connection: Connection, news: Sequence[News], now_ms: int) -> None:
    """Add news. The head stays locked until the commit, so this comes late in a transaction."""
    if not news:
        return
    if any(each.what is Subject.EVERYTHING for each in news):
        # Gateways and replicas may have seen positions that a restored database lost: go beyond.
        last = connection.execute(_LEAP, {"now_us": now_ms * 1000}).scalar_one()
    else:
        last = connection.execute(_ADVANCE, {"step": len(news)}).scalar_one()
    rows = [
        {"position": position, "kind": each.what, "subject": each.name, "create_time": now_ms}
        for position, each in enumerate(news, last - len(news) + 1)
    ]
    connection.execute(_INSERT, rows)


def feed_position(connection: Connection) -> int:
    """Return the position of the newest entry."""
    position: int = connection.execute(_POSITION).scalar_one()
    return position


def read_after(connection: Connection, position: int) -> Stretch:
    """Return what comes after a position: `EVERYTHING` if some of that is kept no more, or the position was lost."""
    head = connection.execute(HEAD).one()
    if not head.start <= position <= head.position:
        return Stretch([FeedEntry(head.position, News(Subject.EVERYTHING))], head.position, last=True)
    rows = connection.execute(_AFTER, {"position": position, "most": _AT_ONCE})
    entries = [FeedEntry(row.position, News(_what(row.kind), row.subject)) for row in rows]
    last = len(entries) < _AT_ONCE
    return Stretch(entries, head.position if last else entries[-1].position, last)


def _what(kind: str) -> Subject | Change:
    return Change(kind) if kind in Change.__members__ else Subject(kind)


def forget_before(connection: Connection, before_ms: int) -> None:
    """Drop the entries that are older than a time."""
    last = connection.execute(_LAST_OLD, {"before": before_ms}).scalar_one()
    if last is not None:
        connection.execute(_SET_START, {"new_start": last})
        connection.execute(_DELETE, {"last": last})
