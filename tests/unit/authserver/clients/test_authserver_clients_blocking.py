from collections.abc import Awaitable, Callable, Sequence

import pytest
from sqlalchemy import Connection

from authserver.clients.blocking import block, revoke, unblock
from authserver.clients.register import Credentials
from authserver.clients.store.blocks import add_block
from authserver.errors import InvalidClient, InvalidToken
from authserver.revocation.store import Change, News, feed_position, read_after
from mesh.access.revocation import HOLDERS, Subject
from tests.databases import rows
from tests.unit.authserver.company import Company, approval
from tests.unit.authserver.meeting import overlap

ACTOR = "operator:test"


class Shops:
    """Clients of two partners and of two platforms, and who among them is blocked."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.credentials = {
            "tea": company.register(),
            "more tea": company.register(statement=approval("app_2")),
            "coffee": company.register(statement=approval("app_3", partner_id="ptr_2")),
            "shops": company.masters["shops"],
            "elsewhere": company.register(
                "stalls", statement=approval("app_4", partner_id="ptr_3", platform_id="stalls")
            ),
            "stalls": company.masters["stalls"],
            "alice": company.operator,
        }
        self.subjects = {
            Subject.CLIENT: self["tea"].client.client_id,
            Subject.PARTNER: "ptr_1",
            Subject.PLATFORM: "shops",
        }

    def __getitem__(self, name: str) -> Credentials:
        return self.credentials[name]

    async def tokens(self) -> dict[str, str]:
        return {name: await self.company.token(credentials) for name, credentials in self.credentials.items()}

    async def dead(self, tokens: dict[str, str]) -> set[str]:
        """Return whose tokens are refused."""
        exchange = self.company.exchange
        return {name for name, token in tokens.items() if await self._refuses(InvalidToken, exchange(token))}

    async def blocked(self) -> set[str]:
        """Return who gets no token."""
        token = self.company.token
        return {
            name
            for name, credentials in self.credentials.items()
            if await self._refuses(InvalidClient, token(credentials))
        }

    def block(self, holder: Subject) -> None:
        self.company.run(self.blocking(holder))

    def blocking(self, holder: Subject) -> Callable[[Connection], None]:
        company = self.company
        return lambda connection: block(connection, company.trail, ACTOR, holder, self.subjects[holder], company.now_ms)

    def unblock(self, holder: Subject) -> None:
        company = self.company
        company.run(lambda connection: unblock(connection, company.trail, ACTOR, holder, self.subjects[holder]))

    def revoke(self, holder: Subject) -> None:
        company = self.company
        company.run(lambda connection: revoke(connection, company.trail, ACTOR, holder, self.subjects[holder]))

    def position(self) -> int:
        return self.company.database.read_here(feed_position)

    def news_after(self, position: int) -> Sequence[News]:
        stretch = self.company.database.read_here(lambda connection: read_after(connection, position))
        return [entry.news for entry in stretch.entries]

    @staticmethod
    async def _refuses(error: type[Exception], answer: Awaitable[object]) -> bool:
        try:
            await answer
        except error:
            return True
        return False


@pytest.fixture
def shops(company: Company) -> Shops:
    return Shops(company)


BELOW = [
    (Subject.CLIENT, {"tea"}),
    (Subject.PARTNER, {"tea", "more tea"}),
    (Subject.PLATFORM, {"tea", "more tea", "coffee", "shops"}),
]


@pytest.mark.parametrize(("holder", "below"), BELOW)
async def test_who_is_blocked_is_out_with_all_below_until_unblocked(
    shops: Shops, holder: Subject, below: set[str]
) -> None:
    tokens, before = await shops.tokens(), shops.position()
    shops.block(holder)
    assert (await shops.dead(tokens), await shops.blocked()) == (below, below)
    assert shops.news_after(before) == [News(holder, shops.subjects[holder])]
    before = shops.position()
    shops.unblock(holder)
    assert shops.news_after(before) == [News(Change[f"{holder}_CHANGED"], shops.subjects[holder])]
    assert await shops.blocked() == set()
    assert await shops.dead(tokens) == below  # tokens from before stay dead
    assert await shops.dead(await shops.tokens()) == set()


@pytest.mark.parametrize(("holder", "below"), BELOW)
async def test_revoking_ends_the_tokens_of_all_below_who_may_take_new_ones(
    shops: Shops, holder: Subject, below: set[str]
) -> None:
    tokens, before = await shops.tokens(), shops.position()
    shops.revoke(holder)
    assert shops.news_after(before) == [News(holder, shops.subjects[holder])]
    assert (await shops.dead(tokens), await shops.blocked()) == (below, set())
    assert await shops.dead(await shops.tokens()) == set()


async def test_a_block_holds_though_another_one_is_lifted(shops: Shops) -> None:
    for holder in HOLDERS:
        shops.block(holder)
    for holder in (Subject.CLIENT, Subject.PLATFORM):
        shops.unblock(holder)
    assert await shops.blocked() == {"tea", "more tea"}
    shops.unblock(Subject.PARTNER)
    assert await shops.blocked() == set()


@pytest.mark.parametrize("holder", list(HOLDERS))
def test_blocking_and_unblocking_again_change_nothing(shops: Shops, holder: Subject, database_url: str) -> None:
    before = rows(database_url)
    shops.unblock(holder)
    assert rows(database_url) == before
    shops.block(holder)
    before = rows(database_url)
    shops.block(holder)
    assert rows(database_url) == before
    shops.unblock(holder)
    before = rows(database_url)
    shops.unblock(holder)
    assert rows(database_url) == before


async def test_two_blocks_at_once_are_one(shops: Shops) -> None:
    before = shops.position()
    overlap(shops.company.database, shops.blocking(Subject.PARTNER), shops.blocking(Subject.PARTNER))
    assert shops.news_after(before) == [News(Subject.PARTNER, "ptr_1")]
    shops.unblock(Subject.PARTNER)
    assert await shops.blocked() == set()


async def test_a_partner_may_be_blocked_before_it_is_known(shops: Shops) -> None:
    company, before = shops.company, shops.position()
    shops.subjects[Subject.PARTNER] = "ptr_9"
    shops.block(Subject.PARTNER)
    assert shops.news_after(before) == [News(Subject.PARTNER, "ptr_9")]
    assert await shops.blocked() == set()
    shops.unblock(Subject.PARTNER)
    await company.token(company.register(statement=approval("app_9", partner_id="ptr_9")))


async def test_a_client_that_a_registration_under_way_adds_to_a_blocked_partner_is_out(shops: Shops) -> None:
    """The partner is blocked between its registration and that one's commit."""
    company, made = shops.company, list[Credentials]()

    def register(connection: Connection) -> None:
        made.append(company.registering("shops", approval("app_9"))(connection))

    overlap(company.database, register, shops.blocking(Subject.PARTNER))
    with pytest.raises(InvalidClient):
        await company.token(made[0])


async def test_a_token_taken_while_a_block_was_under_way_stays_dead_after_it(shops: Shops) -> None:
    """The partner got its first client after the block had raised epochs, and before it was committed."""
    company = shops.company
    token = await company.token(company.register(statement=approval("app_9", partner_id="ptr_9")))
    shops.subjects[Subject.PARTNER] = "ptr_9"
    company.run(lambda connection: add_block(connection, Subject.PARTNER, "ptr_9", company.now_ms))
    shops.unblock(Subject.PARTNER)
    with pytest.raises(InvalidToken):
        await company.exchange(token)


@pytest.mark.parametrize("holder", list(HOLDERS))
def test_each_act_leaves_a_line_in_the_audit_log(shops: Shops, holder: Subject) -> None:
    for act, action in ((shops.revoke, "revoke_tokens"), (shops.block, "block"), (shops.unblock, "unblock")):
        act(holder)
        line = shops.company.last_audit_line()
        assert (line.actor, line.action, line.subject) == (
            ACTOR,
            f"{holder.lower()}.{action}",
            shops.subjects[holder],
        )
