import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, literal, select, update

from authserver.audit.chain import GENESIS, mac_of
from authserver.audit.check import AuditCheck, Finding
from authserver.audit.heads import ExportedHead, HeadFile, HeadsBroken, read_heads
from authserver.audit.store import BEFORE_ALL, LineFilter, StoredLine, append_line, read_all, read_page
from authserver.tables import audit_head, audit_log
from authserver.workers import keep_account
from mesh.config import ConfigError
from mesh.storage.database import Database
from tests.unit.authserver.company import AUDIT_KEY, Company, Replica

OTHER_KEY = bytes(32)
LINES = 10  # after `act`


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    return tmp_path / "heads.jsonl"


def act(company: Company, times: int) -> None:
    for number in range(times):
        company.now += 1
        company.run(
            lambda connection, number=number: company.trail.record(  # type: ignore[misc]
                connection, "operator:alice", "thing.do", f"thing_{number}", (), colour="red", number=str(number)
            )
        )


@pytest.fixture
def log(company: Company) -> Company:
    """A company with ten lines in its log, three of them from its beginning."""
    act(company, LINES - len(lines(company)))
    return company


def lines(company: Company) -> list[StoredLine]:
    return company.database.read_here(lambda connection: list(read_all(connection)))


def check(company: Company, *files: Path, key: bytes = AUDIT_KEY) -> tuple[AuditCheck, list[Finding]]:
    exported = list(itertools.chain.from_iterable(read_heads(file, key) for file in files))
    audit_check = AuditCheck(key, exported)
    return audit_check, company.database.read_here(lambda connection: list(audit_check.findings(connection)))


def findings(company: Company, *files: Path) -> list[tuple[str, str]]:
    return [(each.what, each.where) for each in check(company, *files)[1]]


async def export(company: Company, file: Path) -> None:
    await HeadFile(file, AUDIT_KEY, company.clock).export(company.database)


def change(company: Company, sequence: int, /, **values: object) -> None:
    company.run(
        lambda connection: connection.execute(update(audit_log).where(audit_log.c.sequence == sequence), values)
    )


def remove(company: Company, first: int, last: int) -> None:
    where = audit_log.c.sequence.between(first, last)
    company.run(lambda connection: connection.execute(delete(audit_log).where(where)))


def note_end(company: Company, sequence: int) -> None:
    """Have the database note another end, as one who knows the tables does it."""
    mac = next((stored.mac for stored in lines(company) if stored.line.sequence == sequence), GENESIS)
    company.run(lambda connection: connection.execute(update(audit_head), {"sequence": sequence, "mac": mac}))


def cut(company: Company, after: int) -> None:
    remove(company, after + 1, LINES + 100)
    note_end(company, after)


def insert(company: Company, sequence: int, like: int) -> None:
    columns = (literal(sequence), *(column for column in audit_log.c if column.name != "sequence"))
    copied = select(*columns).where(audit_log.c.sequence == like)
    company.run(lambda connection: connection.execute(audit_log.insert().from_select(list(audit_log.c), copied)))


async def test_a_log_that_nobody_touched_is_sound(log: Company, heads: Path) -> None:
    await export(log, heads)
    audit_check, found = check(log, heads)
    assert (found, audit_check.verified, audit_check.confirmed) == ([], LINES, 1)


def test_an_empty_log_is_sound(company: Company) -> None:
    cut(company, 0)
    assert findings(company) == []


@pytest.mark.parametrize("field", ["actor", "action", "subject", "details", "time", "mac"])
@pytest.mark.parametrize("sequence", [5, LINES])
def test_a_changed_line_is_found(log: Company, field: str, sequence: int) -> None:
    values = {"time": 7, "details": '{"colour":"blue"}', "mac": lines(log)[sequence % 7 + 1].mac}
    change(log, sequence, **{field: values.get(field, "mallory")})
    found = findings(log)
    if field != "mac":
        assert found == [("changed", f"line {sequence}")]
    elif sequence < LINES:  # the next line hangs on this one's MAC
        assert found == [("changed, inserted or reordered", f"lines {sequence} to {sequence + 1}")]
    else:
        assert found[0] == ("changed", f"line {sequence}")


def test_details_that_are_none_are_a_changed_line_and_can_be_read(log: Company) -> None:
    change(log, 5, details="colour")
    assert findings(log) == [("changed", "line 5")]
    assert lines(log)[4].line.details == {"unreadable": "colour"}


@pytest.mark.parametrize(("where", "says"), [((5, 5), "line 5"), ((1, 3), "lines 1 to 3"), ((1, 1), "line 1")])
def test_removed_lines_are_found(log: Company, where: tuple[int, int], says: str) -> None:
    remove(log, *where)
    assert findings(log) == [("removed", says)]


def test_a_removed_line_is_found_though_the_later_ones_are_renumbered(log: Company) -> None:
    remove(log, 5, 5)
    for sequence in range(6, LINES + 1):
        change(log, sequence, sequence=sequence - 1)
    note_end(log, LINES - 1)
    assert findings(log) == [("changed, inserted or reordered", f"lines 5 to {LINES - 1}")]


def test_an_inserted_line_is_found_though_the_later_ones_are_renumbered(log: Company) -> None:
    for sequence in range(LINES, 4, -1):
        change(log, sequence, sequence=sequence + 1)
    insert(log, 5, 4)
    note_end(log, LINES + 1)
    assert findings(log) == [("changed, inserted or reordered", f"lines 5 to {LINES + 1}")]


@pytest.mark.parametrize("sequence", [0, -7])
def test_a_line_before_the_first_is_found(log: Company, sequence: int) -> None:
    insert(log, sequence, 1)
    assert findings(log) == [("inserted", f"line {sequence}")]


def test_a_line_after_the_last_is_found(log: Company) -> None:
    insert(log, LINES + 1, LINES)
    assert findings(log) == [
        ("changed", f"line {LINES + 1}"),
        ("inserted", f"up to line {LINES + 1}: the database knows of another end"),
    ]


def test_lines_that_changed_places_are_found(log: Company) -> None:
    for old, new in ((5, -1), (6, 5), (-1, 6)):
        change(log, old, sequence=new)
    assert findings(log) == [("changed, inserted or reordered", "lines 5 to 7")]


def test_an_end_that_was_cut_off_is_found_by_what_the_database_has_counted(log: Company) -> None:
    remove(log, LINES - 2, LINES)
    assert findings(log) == [("truncated", f"lines {LINES - 2} to {LINES}")]


async def test_an_end_that_was_cut_off_without_a_trace_is_found_by_the_exported_heads(
    log: Company, heads: Path
) -> None:
    await export(log, heads)
    cut(log, LINES - 3)
    assert findings(log) == []
    assert findings(log, heads) == [("truncated", f"lines {LINES - 2} to {LINES}: they were exported")]


async def test_a_log_that_went_on_after_its_end_was_cut_off_is_found_by_the_exported_heads(
    log: Company, heads: Path
) -> None:
    await export(log, heads)
    cut(log, LINES - 3)
    act(log, 5)
    assert findings(log) == []
    assert findings(log, heads) == [
        ("rewritten", f"line {LINES}, and perhaps lines before it: another one was exported")
    ]


async def test_every_file_of_heads_counts(log: Company, heads: Path, tmp_path: Path) -> None:
    """Only one of two auth servers lived to see the lines that are gone."""
    await export(log, heads)
    act(log, 2)
    await export(log, tmp_path / "second")
    cut(log, LINES)
    assert findings(log, heads) == []
    assert findings(log, heads, tmp_path / "second") == [
        ("truncated", f"lines {LINES + 1} to {LINES + 2}: they were exported")
    ]


def test_a_history_rewritten_without_the_key_is_found(log: Company) -> None:
    previous = lines(log)[3].mac
    for stored in lines(log)[4:]:
        line = replace(stored.line, actor="operator:bob")
        previous = mac_of(OTHER_KEY, previous, line)
        remove(log, line.sequence, line.sequence)
        log.run(lambda connection, line=line, mac=previous: append_line(connection, line, mac))  # type: ignore[misc]
    assert findings(log) == [("changed, inserted or reordered", f"lines 5 to {LINES}")]


FORGERIES: list[Callable[[dict[str, Any]], object]] = [
    lambda head: {**head, "sequence": head["sequence"] + 1},
    lambda head: {**head, "time": head["time"] + 1},
    lambda head: {**head, "mac": "00" * 32},
    lambda head: {**head, "mac": "no hexadecimal"},
    lambda head: {**head, "signature": "00" * 32},
    lambda head: {**head, "signature": "é"},
    lambda head: {**head, "more": 1},
    lambda head: {"sequence": head["sequence"]},
    lambda _: "nonsense",
]


def findings_with_forgeries(log: Company, heads: Path) -> list[tuple[str, str]]:
    """Return what is found for each forgery of the only head in a file, which must be one thing."""
    found, head = [], json.loads(heads.read_text())
    for forge in FORGERIES:
        heads.write_text(json.dumps(forge(head)) + "\n")
        (finding,) = findings(log, heads)
        found.append(finding)
    return found


async def test_a_head_that_was_not_signed_so_is_found(log: Company, heads: Path) -> None:
    await export(log, heads)
    for what, where in findings_with_forgeries(log, heads):
        assert what == "exported head"
        assert where.startswith(f"{heads}, line 1: no")


async def test_a_head_signed_with_another_key_is_found(log: Company, heads: Path) -> None:
    await export(log, heads)
    assert [type(each) for each in read_heads(heads, OTHER_KEY)] == [HeadsBroken]


async def test_a_head_is_exported_when_it_has_moved(company: Company, heads: Path) -> None:
    file = HeadFile(heads, AUDIT_KEY, company.clock)
    for times in (1, 0, 2):
        act(company, times)
        await file.export(company.database)
    exported = list(read_heads(heads, AUDIT_KEY))
    assert [each.sequence for each in exported if isinstance(each, ExportedHead)] == [4, 6]
    assert len(exported) == 2


@pytest.fixture
def unfinished(heads: Path) -> Path:
    heads.write_bytes(b'{"time":17')
    return heads


async def test_a_line_that_a_crash_left_unfinished_swallows_no_head(log: Company, unfinished: Path) -> None:
    await export(log, unfinished)
    broken, head = read_heads(unfinished, AUDIT_KEY)
    assert isinstance(broken, HeadsBroken)
    assert isinstance(head, ExportedHead)


def test_a_file_of_heads_that_is_gone_is_found(log: Company, heads: Path) -> None:
    assert findings(log, heads) == [("exported head", f"{heads} is not there")]


def test_a_file_that_can_not_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        HeadFile(tmp_path / "none" / "heads", AUDIT_KEY)


class NoticedHeadFile(HeadFile):
    def __init__(self, file: Path, key: bytes) -> None:
        super().__init__(file, key)
        self.exported = asyncio.Event()

    async def export(self, database: Database) -> None:
        await super().export(database)
        self.exported.set()


async def test_refused_authentications_are_counted_and_the_head_exported_at_the_end_too(
    company: Company, heads: Path
) -> None:
    before = len(lines(company))
    replica = Replica(company)
    file = NoticedHeadFile(heads, AUDIT_KEY)
    task = asyncio.create_task(keep_account(company.database, company.trail, replica.refusals, file))
    await file.exported.wait()  # the first account: nothing to count, a head to export
    for client_id, address in (("a", "10.0.0.1"), ("a", "10.0.0.2"), ("b", "2001:db8::1"), ("b", "2001:db8::2")):
        replica.refusals.note(client_id, address)
    task.cancel()
    await asyncio.wait([task])
    (counted,) = [stored.line for stored in lines(company)[before:]]
    assert (counted.actor, counted.action) == ("authserver", "client_authentication.refused")
    assert counted.details == {"count": "4", "client_ids": "2", "addresses": "3"}
    assert check(company, heads)[0].confirmed == 2


def test_lines_are_found_by_who_did_what_to_whom_and_when(log: Company) -> None:
    def found(**wanted: object) -> list[int]:
        page = log.database.read_here(lambda connection: read_page(connection, wanted=LineFilter(**wanted)))  # type: ignore[arg-type]
        return [stored.line.sequence for stored in page]

    assert found() == list(range(1, LINES + 1))
    assert found(actor="operator:alice") == list(range(4, LINES + 1))
    assert found(action="client.provision") == [1, 2, 3]
    assert found(subject="thing_2") == [6]
    assert found(since=lines(log)[7].line.time) == [8, 9, 10]
    assert found(actor="operator:alice", since=log.now_ms) == [10]
    assert found(actor="' OR '1'='1") == []


def test_a_long_log_is_read_in_pages(log: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authserver.audit.store._AT_ONCE", 4)
    after, pages = BEFORE_ALL, []
    while page := log.database.read_here(lambda connection, after=after: read_page(connection, after)):  # type: ignore[misc]
        pages.append([stored.line.sequence for stored in page])
        after = pages[-1][-1]
    assert pages == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert check(log)[0].verified == LINES
