"""Checks the whole audit log: that its chain holds, and that it has all that was exported of it."""

import hmac
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection

from authserver.audit.chain import GENESIS, AuditLine, mac_of
from authserver.audit.heads import ExportedHead, HeadsBroken
from authserver.audit.store import AuditHead, StoredLine, read_all, read_audit_head

# The act that explains why lines are missing: the database was restored from a backup.
RESTORED = "database.restored"
# Its detail: the number of the last line that the backup had.
KEPT_UNTIL = "kept_until"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        what: What is wrong, in a word.
        where: Which line, or lines.

    """

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Restore:
    """A line that says that the database was restored.

    Attributes:
        line: The line.
        kept_until: The number of the last line from before. Those after it are new ones.

    """

    line: AuditLine
    kept_until: int

    def explains(self, head: ExportedHead) -> bool:
        """Return whether a head may be of the lines that were lost."""
        return head.sequence > self.kept_until and head.time <= self.line.time


@dataclass(slots=True)
class AuditCheck:
    """A check of the audit log, and what it came upon.

    Args:
        key: The audit key.
        heads: What was exported, read before the log is.
        on_line: Called after each line.

    Attributes:
        verified: How many lines are as they were written.
        confirmed: How many exported heads the log has.
        restores: When the database was restored.
        lost: The heads that the log does not have, and that no restore explains, in the order of their numbers.

    """

    key: bytes
    heads: Iterable[ExportedHead | HeadsBroken]
    on_line: Callable[[], None] = lambda: None
    verified: int = 0
    confirmed: int = 0
    restores: list[Restore] = field(default_factory=list)
    lost: list[ExportedHead] = field(default_factory=list)
    _last: AuditHead = field(default=AuditHead(0, GENESIS), init=False)
    _broken: tuple[int, int] | None = field(default=None, init=False)
    _heads: dict[int, list[ExportedHead]] = field(default_factory=lambda: defaultdict(list), init=False)

    def findings(self, connection: Connection) -> Iterator[Finding]:
        """Read the whole log and return all that is wrong with it, as it is found.

        Args:
            connection: In one transaction, so that all is read in the same state.

        """
        for head in self.heads:
            if isinstance(head, HeadsBroken):
                yield Finding("exported head", str(head))
            else:
                self._heads[head.sequence].append(head)
        rewritten: list[ExportedHead] = []
        for stored in read_all(connection):
            yield from self._check(stored)
            rewritten += self._unlike(stored)
            self.on_line()
        yield from self._end_of_broken()
        yield from self._check_end(read_audit_head(connection))
        yield from self._check_lost(rewritten, [head for heads in self._heads.values() for head in heads])

    def _check(self, stored: StoredLine) -> Iterator[Finding]:
        line, expected = stored.line, self._last.sequence + 1
        if line.sequence < expected:
            yield Finding("inserted", f"line {line.sequence}")
            return
        if line.sequence > expected:
            yield from self._end_of_broken()
            yield Finding("removed", _lines(expected, line.sequence - 1))
        elif hmac.compare_digest(mac_of(self.key, self._last.mac, line), stored.mac):
            yield from self._end_of_broken()
            self.verified += 1
            if line.action == RESTORED:
                self.restores.append(Restore(line, int(line.details[KEPT_UNTIL])))
        else:
            first, _ = self._broken or (line.sequence, 0)
            self._broken = first, line.sequence
        self._last = AuditHead(line.sequence, stored.mac)

    def _end_of_broken(self) -> Iterator[Finding]:
        """Report the lines that the chain does not hold at, one after another, as one finding."""
        if self._broken:
            first, last = self._broken
            what = "changed" if first == last else "changed, inserted or reordered"
            yield Finding(what, _lines(first, last))
        self._broken = None

    def _unlike(self, stored: StoredLine) -> list[ExportedHead]:
        """Return the heads that were exported of another line with the same number."""
        heads = self._heads.pop(stored.line.sequence, [])
        unlike = [head for head in heads if head.mac != stored.mac.hex()]
        self.confirmed += len(heads) - len(unlike)
        return unlike

    def _check_end(self, end: AuditHead) -> Iterator[Finding]:
        if end.sequence > self._last.sequence:
            yield Finding("truncated", _lines(self._last.sequence + 1, end.sequence))
        elif end != self._last:
            yield Finding("inserted", f"up to line {self._last.sequence}: the database knows of another end")

    def _check_lost(self, rewritten: Iterable[ExportedHead], missing: Iterable[ExportedHead]) -> Iterator[Finding]:
        rewritten, missing = self._unexplained(rewritten), self._unexplained(missing)
        self.lost = sorted(rewritten + missing, key=lambda head: head.sequence)
        if rewritten:
            first = min(head.sequence for head in rewritten)
            yield Finding("rewritten", f"line {first}, and perhaps lines before it: another one was exported")
        last = max((head.sequence for head in missing), default=0)
        if last > self._last.sequence:  # else it was reported as removed
            yield Finding("truncated", f"{_lines(self._last.sequence + 1, last)}: they were exported")

    def _unexplained(self, heads: Iterable[ExportedHead]) -> list[ExportedHead]:
        return [head for head in heads if not any(restore.explains(head) for restore in self.restores)]


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"
