"""Takes note that the database was restored from a backup: nothing that was revoked since comes back to life."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from authserver.audit.check import KEPT_UNTIL, RESTORED
from authserver.audit.heads import ExportedHead
from authserver.audit.store import last_line_until, read_audit_head
from authserver.audit.trail import Trail
from authserver.clients.store.blocks import raise_all_epochs
from authserver.revocation.store import Change, News
from mesh.access.revocation import Subject

_ANY_TIME = 2**62


@dataclass(frozen=True, slots=True)
class Loss:
    """What is known of the lines that the audit log lost. Times are in milliseconds since the epoch.

    Attributes:
        kept_until: The number of the last line that the backup had; 0 if it had none.
        kept_time: When that was written; 0 if there is none.
        lost_until: The number of the last line that is known to be lost; as `kept_until` if none is.
        lost_time: When that was exported; 0 if none is known to be lost.

    """

    kept_until: int
    kept_time: int
    lost_until: int
    lost_time: int


def estimate_loss(connection: Connection, lost: Sequence[ExportedHead]) -> Loss:
    """Compare the log with the exported heads that it does not have, in the order of their numbers."""
    if lost:
        # Lines that auth servers wrote since the restore are younger than what was exported before it.
        newest_time = max(head.time for head in lost)
        kept = last_line_until(connection, newest_time, lost[0].sequence - 1)
    else:
        newest_time = 0
        kept = last_line_until(connection, _ANY_TIME, read_audit_head(connection).sequence)
    kept_until, kept_time = (kept.sequence, kept.time) if kept else (0, 0)
    return Loss(kept_until, kept_time, lost[-1].sequence if lost else kept_until, newest_time)


def declare_restored(connection: Connection, trail: Trail, actor: str, loss: Loss, now_ms: int) -> None:
    """End all tokens, have everyone forget all that is in memory, and say in the audit log where its history was cut.

    Auth servers and gateways may run meanwhile: they hear of it as of any other revocation.
    """
    raise_all_epochs(connection, now_ms)
    news = [News(Subject.EVERYTHING, ""), News(Change.KEYS_CHANGED, "")]
    details = {KEPT_UNTIL: str(loss.kept_until), "lost_until": str(loss.lost_until)}
    trail.record(connection, actor, RESTORED, "database", news, **details)
