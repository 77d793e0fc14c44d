from collections.abc import Callable
from pathlib import Path

import pytest

from authserver.access_tokens import Epochs
from authserver.audit.check import AuditCheck, Finding
from authserver.audit.heads import ExportedHead, HeadFile, read_heads
from authserver.clients.blocking import revoke
from authserver.declare_restored import Loss, declare_restored, estimate_loss
from authserver.errors import InvalidToken, ReplicaBehind
from authserver.revocation.store import Change, FeedEntry, feed_position
from mesh.access.revocation import Subject
from tests.databases import back_up
from tests.unit.authserver.company import AUDIT_KEY, Company, Replica, approval

Restore = Callable[[], None]


@pytest.fixture
def restorable(company: Company, database_url: str) -> Callable[[], Restore]:
    del company
    return lambda: back_up(database_url)


def revoke_tokens(company: Company, client_id: str) -> None:
    company.run(lambda connection: revoke(connection, company.trail, "operator:alice", Subject.CLIENT, client_id))


def check(company: Company, *files: Path) -> tuple[AuditCheck, list[Finding]]:
    heads = [head for file in files for head in read_heads(file, AUDIT_KEY)]
    audit_check = AuditCheck(AUDIT_KEY, heads)
    return audit_check, company.database.read_here(lambda connection: list(audit_check.findings(connection)))


def declare(company: Company, *files: Path) -> Loss:
    company.now += 1
    lost = check(company, *files)[0].lost
    loss = company.database.read_here(lambda connection: estimate_loss(connection, lost))
    company.run(lambda connection: declare_restored(connection, company.trail, "operator:alice", loss, company.now_ms))
    return loss


def position(company: Company) -> int:
    return company.database.read_here(feed_position)


async def is_good(company: Company, token: str) -> bool:
    try:
        await company.exchange(token)
    except InvalidToken:
        return False
    return True


async def test_no_token_that_was_revoked_since_the_backup_comes_back_to_life(
    company: Company, restorable: Callable[[], Restore]
) -> None:
    shop = company.register()
    client_id = shop.client.client_id
    before = await company.token(shop)
    restore = restorable()
    revoke_tokens(company, client_id)
    after = await company.token(shop)
    company.revoke(client_id, after)
    restore()
    assert await is_good(company, before)  # what the command is for
    declare(company)
    assert not await is_good(company, before)
    assert not await is_good(company, after)
    assert await is_good(company, await company.token(shop))


async def test_nor_when_the_same_backup_is_restored_twice(company: Company, restorable: Callable[[], Restore]) -> None:
    """A step from what is in the backup would be the same both times."""
    shop = company.register()
    restore = restorable()
    restore()
    declare(company)
    between = await company.token(shop)
    company.revoke(shop.client.client_id, between)
    seen = position(company)
    restore()
    declare(company)
    assert not await is_good(company, between)
    assert position(company) > seen


async def test_nor_when_an_older_backup_is_restored_after_a_newer_one(
    company: Company, restorable: Callable[[], Restore]
) -> None:
    shop = company.register()
    older = restorable()
    declare(company)
    newer = restorable()
    newer()
    declare(company)
    between = await company.token(shop)
    seen = position(company)
    older()
    declare(company)
    assert not await is_good(company, between)
    assert position(company) > seen


async def test_a_clock_that_is_wrong_still_leads_beyond_what_was_seen(
    company: Company, restorable: Callable[[], Restore]
) -> None:
    shop = company.register()
    declare(company)  # an earlier restore, when the clock was right
    restore = restorable()
    for _ in range(3):
        revoke_tokens(company, shop.client.client_id)
    token, seen = await company.token(shop), position(company)
    restore()
    company.now = 0
    declare(company)
    company.now = 1_800_000_000.0
    assert not await is_good(company, token)
    assert position(company) > seen


async def test_replicas_with_older_and_with_newer_memory_hear_of_it(
    company: Company, restorable: Callable[[], Restore]
) -> None:
    shop = company.register()
    token = await company.token(shop)
    newer, older = Replica(company), Replica(company)
    heard: dict[Replica, list[Subject | Change]] = {newer: [], older: []}
    for replica, kinds in heard.items():
        replica.feed.listen(lambda entries, kinds=kinds: kinds.extend(_kinds(entries)))  # type: ignore[misc]
    await older.feed.follow()
    await older.exchanger.exchange(token, "payments", 0)  # in its memory as the backup has it
    restore = restorable()
    revoke_tokens(company, shop.client.client_id)
    await newer.feed.follow()
    with pytest.raises(InvalidToken):
        await newer.exchanger.exchange(token, "payments", 0)
    restore()
    await newer.feed.follow()
    with pytest.raises(ReplicaBehind):  # a gateway that knows what the database has lost is not told yes
        await older.exchanger.exchange(token, "payments", newer.feed.position)
    declare(company)
    for replica, kinds in heard.items():
        await replica.feed.follow()
        assert replica.feed.is_current()
        assert kinds[-2:] == [Subject.EVERYTHING, Change.KEYS_CHANGED]
        with pytest.raises(InvalidToken):
            await replica.exchanger.exchange(token, "payments", replica.feed.position)


def _kinds(entries: object) -> list[Subject | Change]:
    assert isinstance(entries, list)
    return [entry.news.what for entry in entries if isinstance(entry, FeedEntry)]


def test_it_is_one_act_in_the_audit_log(company: Company) -> None:
    before = check(company)[0].verified
    declare(company)
    audit_check, found = check(company)
    assert found == []
    assert audit_check.verified == before + 1
    (restore,) = audit_check.restores
    assert (restore.line.actor, restore.line.action, restore.kept_until) == (
        "operator:alice",
        "database.restored",
        before,
    )


class Exported:
    """Heads that were exported while a company worked, to a file for each of two auth servers."""

    def __init__(self, company: Company, folder: Path) -> None:
        self.company = company
        self.files = [folder / "auth-1.jsonl", folder / "auth-2.jsonl"]

    async def act(self, times: int, server: int = 0) -> None:
        """Register some shops, exporting the head each time."""
        for _ in range(times):
            self.company.now += 1
            self.company.register(statement=approval(f"app_{self.company.now}"))
            head = HeadFile(self.files[server], AUDIT_KEY, self.company.clock)
            await head.export(self.company.database)


@pytest.fixture
async def exported(company: Company, tmp_path: Path) -> Exported:
    exported = Exported(company, tmp_path)
    await exported.act(1, server=0)
    await exported.act(1, server=1)
    return exported


async def test_it_tells_which_lines_are_lost_and_since_when(
    company: Company, exported: Exported, restorable: Callable[[], Restore]
) -> None:
    kept, kept_time, restore = check(company)[0].verified, company.now_ms, restorable()
    await exported.act(3)
    lost_time = company.now_ms
    company.now += 1
    restore()
    assert declare(company, *exported.files) == Loss(kept, kept_time, kept + 3, lost_time)


async def test_it_tells_so_though_auth_servers_have_written_since_the_restore(
    company: Company, exported: Exported, restorable: Callable[[], Restore]
) -> None:
    kept, kept_time, restore = check(company)[0].verified, company.now_ms, restorable()
    for number in (1, 2):  # without an export
        company.register(statement=approval(f"app_lost_{number}"))
    await exported.act(1)
    lost_time = company.now_ms
    restore()
    await exported.act(1)
    assert declare(company, *exported.files) == Loss(kept, kept_time, kept + 3, lost_time)
    assert check(company, *exported.files)[1] == []


async def test_the_heads_of_the_lost_lines_are_explained_though_clocks_went_back(
    company: Company, exported: Exported, restorable: Callable[[], Restore]
) -> None:
    restore = restorable()
    await exported.act(3)
    restore()
    now, company.now = company.now, company.now - 100
    await exported.act(2)
    company.now = now
    declare(company, *exported.files)
    assert check(company, *exported.files)[1] == []


async def test_it_tells_that_nothing_is_known_to_be_lost(company: Company, exported: Exported) -> None:
    kept, kept_time = check(company)[0].verified, company.now_ms
    assert declare(company, *exported.files) == Loss(kept, kept_time, kept, 0)


async def test_heads_of_the_lost_lines_are_explained_by_the_restore_and_only_by_it(
    company: Company, exported: Exported, restorable: Callable[[], Restore]
) -> None:
    restore = restorable()
    await exported.act(3)
    restore()
    assert [each.what for each in check(company, *exported.files)[1]] == ["truncated"]
    await exported.act(1)
    assert [each.what for each in check(company, *exported.files)[1]] == ["rewritten", "truncated"]
    declare(company, *exported.files)
    assert check(company, *exported.files)[1] == []
    await exported.act(4)  # beyond the numbers that were lost
    audit_check, found = check(company, *exported.files)
    assert found == []
    assert audit_check.confirmed == 2 + 1 + 4


async def test_heads_that_come_to_light_later_are_explained_too(
    company: Company, exported: Exported, restorable: Callable[[], Restore]
) -> None:
    restore = restorable()
    await exported.act(1, server=0)
    await exported.act(5, server=1)
    restore()
    declare(company, exported.files[0])
    assert check(company, *exported.files)[1] == []


async def test_what_is_cut_off_after_a_restore_is_found(
    company: Company, exported: Exported, restorable: Callable[[], Restore]
) -> None:
    restore = restorable()
    await exported.act(2)
    restore()
    declare(company, *exported.files)
    again = restorable()
    await exported.act(5)
    again()
    assert [each.what for each in check(company, *exported.files)[1]] == ["truncated"]


async def test_a_head_of_a_line_that_the_backup_had_is_explained_by_no_restore(
    company: Company, exported: Exported
) -> None:
    declare(company, *exported.files)
    audit_check, _ = check(company)
    restore = audit_check.restores[0]
    head = ExportedHead(restore.line.time - 1, restore.kept_until, "00", "00")
    assert not restore.explains(head)


async def test_the_epochs_of_clients_partners_and_platforms_are_all_raised(company: Company) -> None:
    shop = company.register()
    declare(company)
    raised = company.now_ms * 1000
    assert (await company.authenticate(shop.client.client_id, shop.client_secret)).epochs == Epochs(
        raised, raised, raised
    )
