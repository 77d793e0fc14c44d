"""The audit log in the database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy import bindparam as bind

from authserver.audit.chain import AuditLine
from authserver.tables import audit_head, audit_log

# Before the first line, also before any that someone put there.
BEFORE_ALL = -(2**63)

_LOCK_HEAD = select(audit_head.c.sequence, audit_head.c.mac).with_for_update()
_HEAD = select(audit_head.c.sequence, audit_head.c.mac)
_SET_HEAD = update(audit_head).values(sequence=bind("new_sequence"), mac=bind("new_mac"))
_INSERT = insert(audit_log)
_AFTER = (
    select(audit_log).where(audit_log.c.sequence > bind("after")).order_by(audit_log.c.sequence).limit(bind("limit"))
)
_LAST_UNTIL = (
    select(audit_log)
    .where(audit_log.c.time <= bind("time"), audit_log.c.sequence <= bind("max_sequence"))
    .order_by(audit_log.c.sequence.desc())
    .limit(1)
)

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the chain: the number of the last line, and its MAC."""

    sequence: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line and its MAC, as they lie in the database."""

    line: AuditLine
    mac: bytes


def lock_head(connection: Connection) -> AuditHead:
    """Return the end of the chain; nobody else adds a line until the transaction ends."""
    return _head(connection.execute(_LOCK_HEAD).one())


def read_audit_head(connection: Connection) -> AuditHead:
    """Return the end of the chain."""
    return _head(connection.execute(_HEAD).one())


def append_line(connection: Connection, line: AuditLine, mac: bytes) -> None:
    """Add a line after the last one, whose head is locked."""
    row = {
        "sequence": line.sequence,
        "time": line.time,
        "actor": line.actor,
        "action": line.action,
        "subject": line.subject,
        "details": msgspec.json.encode(line.details, order="sorted").decode(),
        "mac": mac,
    }
    connection.execute(_INSERT, row)
    connection.execute(_SET_HEAD, {"new_sequence": line.sequence, "new_mac": mac})


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines are wanted; what is None does not matter.

    Attributes:
        actor: Who acted.
        action: What was done.
        subject: To whom or what.
        since: The earliest time, in milliseconds since the epoch.

    """

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: int | None = None


_ALL = LineFilter()


def read_page(connection: Connection, after: int = BEFORE_ALL, wanted: LineFilter = _ALL) -> Sequence[StoredLine]:
    """Return the next lines that are wanted after a number, at most a thousand."""
    statement = _AFTER
    for column in ("actor", "action", "subject"):
        if (value := getattr(wanted, column)) is not None:
            statement = statement.where(audit_log.c[column] == value)
    if wanted.since is not None:
        statement = statement.where(audit_log.c.time >= wanted.since)
    return [_stored_line(row) for row in connection.execute(statement, {"after": after, "limit": _AT_ONCE})]


def read_all(connection: Connection) -> Iterator[StoredLine]:
    """Return all lines, the oldest first, reading on as they are taken."""
    after = BEFORE_ALL
    while page := read_page(connection, after):
        yield from page
        after = page[-1].line.sequence


def last_line_until(connection: Connection, time: int, max_sequence: int) -> AuditLine | None:
    """Return the last line up to a time and up to a number; None if there is none."""
    row = connection.execute(_LAST_UNTIL, {"time": time, "max_sequence": max_sequence}).one_or_none()
    return None if row is None else _stored_line(row).line


def _head(row: Row[*tuple[Any, ...]]) -> AuditHead:
    return AuditHead(row.sequence, bytes(row.mac))


def _stored_line(row: Row[*tuple[Any, ...]]) -> StoredLine:
    try:
        details = msgspec.json.decode(row.details, type=dict[str, str])
    except msgspec.DecodeError:  # someone has changed it, which its MAC will show
        details = {"unreadable": row.details}
    return StoredLine(AuditLine(row.sequence, row.time, row.actor, row.action, row.subject, details), bytes(row.mac))
