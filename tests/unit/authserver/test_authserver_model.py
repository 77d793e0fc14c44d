"""A state machine against a small model: whatever is done in whatever order, on either of two replicas, an access token
is exchanged exactly as long as the model says that it holds.
"""

import asyncio
import base64
import dataclasses
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection

from authserver.clients.blocking import block, revoke, unblock
from authserver.clients.register import Credentials
from authserver.clients.store.blocks import raise_all_epochs
from authserver.errors import InvalidClient, InvalidToken, UnapprovedSoftwareStatement
from authserver.keys.rotation import AT_ONCE_SECONDS, KeyChangeRefused, keep_keys, retire_key, rotate_key
from authserver.keys.schedule import Use, active_key
from authserver.keys.store import list_keys
from authserver.revocation.store import News, feed_position
from authserver.tokens.issue import issue_token
from mesh.access.revocation import HOLDERS, Subject
from mesh.security.private_tokens import PrivateTokenVerifier
from mesh.storage.database import Database
from tests.fuzz.effort import examples
from tests.unit.authserver.company import Company, Replica, approval
from tests.unit.authserver.key_changes import keeper_of

T = TypeVar("T")

TTL_SECONDS = 600
REPLICAS = st.integers(0, 1)
FEW = 4
SHOPS = st.integers(0, FEW - 1)


@dataclasses.dataclass
class Shop:
    """What the model knows of a registered client."""

    credentials: Credentials
    platform_id: str
    partner_id: str
    secrets: list[tuple[str, float]]  # each with the time when it stops working
    deleted: bool = False

    @property
    def client_id(self) -> str:
        return self.credentials.client.client_id

    def holders(self) -> set[tuple[Subject, str]]:
        return {
            (Subject.CLIENT, self.client_id),
            (Subject.PARTNER, self.partner_id),
            (Subject.PLATFORM, self.platform_id),
        }


@dataclasses.dataclass
class Token:
    """What the model knows of an access token."""

    shop: Shop
    sealed: str
    key_id: int  # of the key that sealed it
    expires: float
    dead: bool = False


class AuthServerMachine(RuleBasedStateMachine):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.database = Database(url)
        self.company = Company(self.database)
        self.loop = asyncio.new_event_loop()
        self.replicas = [Replica(self.company), Replica(self.company)]
        for replica in self.replicas:
            self.ask(replica.feed.follow())  # as a server does before it answers
        self.blocked: set[tuple[Subject, str]] = set()
        self.all_shops: list[Shop] = []
        self.all_tokens: list[Token] = []
        self.retired_keys: set[int] = set()

    def teardown(self) -> None:
        self.loop.close()
        self.database.close()

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(question)

    def end(self, holder: Subject, subject: str) -> None:
        for token in self.all_tokens:
            if (holder, subject) in token.shop.holders():
                token.dead = True

    def is_blocked(self, shop: Shop) -> bool:
        return bool(shop.holders() & self.blocked)

    def holds(self, token: Token) -> bool:
        return (
            not token.dead
            and not token.shop.deleted
            and not self.is_blocked(token.shop)
            and token.key_id not in self.retired_keys
            and self.company.now < token.expires
        )

    def shop(self, number: int) -> Shop:
        few = self.all_shops[-FEW:]
        return few[number % len(few)]

    @initialize()
    def open_a_shop(self) -> None:
        """Begin with something to lose."""
        self.register("shops", 0)
        self.issue(0, 0, 0)

    @precondition(lambda self: sum(not shop.deleted for shop in self.all_shops) < FEW)  # else most have nothing to lose
    @rule(platform_id=st.sampled_from(["shops", "stalls"]), partner=st.integers(0, 2))
    def register(self, platform_id: str, partner: int) -> None:
        partner_id = f"ptn_{platform_id}_{partner}"
        statement = approval(f"app_{len(self.all_shops)}", partner_id=partner_id, platform_id=platform_id)
        if (Subject.PARTNER, partner_id) in self.blocked:
            with pytest.raises(UnapprovedSoftwareStatement):
                self.company.register(platform_id, statement=statement)
            return
        credentials = self.company.register(platform_id, statement=statement)
        secrets = [(credentials.client_secret, float("inf"))]
        self.all_shops.append(Shop(credentials, platform_id, partner_id, secrets))

    @rule(number=SHOPS, replica=REPLICAS, which=st.integers(0, 3))
    def issue(self, number: int, replica: int, which: int) -> None:
        shop = self.shop(number)
        secret, until = shop.secrets[which % len(shop.secrets)]
        asked = self.replicas[replica].authenticate(shop.client_id, secret)
        # Of another replica's changes this one may not have heard yet; then the token that it makes is dead already.
        self.ask(self.hear_all(replica))
        if shop.deleted or self.is_blocked(shop) or self.company.now >= until:
            with pytest.raises(InvalidClient):
                self.ask(asked)
            return
        client = self.ask(asked)
        sealer = self.replicas[replica].key_ring.sealer
        issued = issue_token(sealer, client, "", now=self.company.now, ttl_seconds=TTL_SECONDS)
        token = Token(shop, issued.access_token, key_id_of(issued.access_token), self.company.now + TTL_SECONDS)
        self.all_tokens.append(token)

    @rule(number=SHOPS, overlap=st.sampled_from([None, 5.0, 100.0]))
    def rotate(self, number: int, overlap: float | None) -> None:
        shop = self.shop(number)
        if shop.deleted:
            return
        now = self.company.now
        until = None if overlap is None else round((now + overlap) * 1000)
        rotated = self.company.rotate(shop.client_id, shop.platform_id, old_expire_time=until)
        newest, newest_until = shop.secrets[-1]
        gone = [(secret, 0.0) for secret, _ in shop.secrets[:-1]]
        old = (newest, 0.0 if overlap is None else min(newest_until, now + overlap))
        shop.secrets = [*gone, old, (rotated.client_secret, float("inf"))]
        if overlap is None:
            self.end(Subject.CLIENT, shop.client_id)

    @rule(number=SHOPS, scope=st.sampled_from(["payments.read", "payments.read payments.write"]))
    def update(self, number: int, scope: str) -> None:
        shop = self.shop(number)
        if shop.deleted:
            return
        before = self.ask(self.replicas[0].clients.find_in_database(shop.client_id)).client
        assert before is not None
        after = self.company.update(shop.client_id, shop.platform_id, scope=scope)
        if not before.scopes <= after.scopes:
            self.end(Subject.CLIENT, shop.client_id)

    @rule(number=SHOPS)
    def delete(self, number: int) -> None:
        shop = self.shop(number)
        if shop.deleted:
            return
        self.company.delete(shop.client_id, shop.platform_id)
        shop.deleted = True

    @precondition(lambda self: self.all_tokens)
    @rule(number=st.integers(1, FEW), replica=REPLICAS)
    def revoke_token(self, number: int, replica: int) -> None:
        token = self.all_tokens[-min(number, len(self.all_tokens))]
        self.ask(self.hear_all(replica))
        self.company.revoke(token.shop.client_id, token.sealed, self.replicas[replica].key_ring.sealer)
        token.dead = True

    @rule(number=SHOPS, holder=st.sampled_from(HOLDERS), act=st.sampled_from(["revoke", "block", "unblock"]))
    def block_or_revoke(self, number: int, holder: Subject, act: str) -> None:
        shop = self.shop(number)
        subject = next(subject for each, subject in shop.holders() if each == holder)
        trail, now_ms = self.company.trail, self.company.now_ms
        if act == "unblock":
            self.company.run(lambda connection: unblock(connection, trail, "operator:test", holder, subject))
            self.blocked.discard((holder, subject))
            return
        if act == "block":
            self.company.run(lambda connection: block(connection, trail, "operator:test", holder, subject, now_ms))
            self.blocked.add((holder, subject))
        else:
            self.company.run(lambda connection: revoke(connection, trail, "operator:test", holder, subject))
        self.end(holder, subject)

    @rule()
    def restore(self) -> None:
        def restored(connection: Connection) -> None:
            raise_all_epochs(connection, self.company.now_ms)
            self.company.trail.record(connection, "operator:test", "restore", "", [News(Subject.EVERYTHING, "")])

        self.company.run(restored)
        for token in self.all_tokens:
            token.dead = True

    @rule(use=st.sampled_from(Use), at_once=st.booleans())
    def rotate_key(self, use: Use, *, at_once: bool) -> None:
        with suppress(KeyChangeRefused):  # one is announced already
            self.change_keys(rotate_key, use, self.company.now_ms, at_once=at_once)

    @rule(use=st.sampled_from(Use))
    def replace_key(self, use: Use) -> None:
        """Put a new key into use, and retire the old one, which someone else may have."""
        stored = self.company.run(list_keys)
        old = active_key([key.times for key in stored if key.use == use], self.company.now_ms)
        assert old is not None
        self.change_keys(rotate_key, use, self.company.now_ms, at_once=True)
        self.company.now += AT_ONCE_SECONDS
        self.change_keys(retire_key, old.key_id, self.company.now_ms)
        self.retired_keys.add(old.key_id)

    @rule(number=st.integers(0, 10))
    def retire_key(self, number: int) -> None:
        """Retire any key that there is; the one in use is refused, and so is what is retired."""
        stored = self.company.run(list_keys)
        key_id = stored[number % len(stored)].times.key_id
        with suppress(KeyChangeRefused):
            self.change_keys(retire_key, key_id, self.company.now_ms)
            self.retired_keys.add(key_id)

    @rule()
    def keep_keys(self) -> None:
        self.change_keys(keep_keys, self.company.now_ms)

    def change_keys(self, change: Callable[..., object], *arguments: object, **options: object) -> None:
        keeper = keeper_of(self.company)
        self.company.run(lambda connection: change(connection, keeper, *arguments, **options))

    async def hear_all(self, replica: int) -> None:
        await self.replicas[replica].feed.follow()
        await self.replicas[replica].key_ring.catch_up()

    @rule(seconds=st.sampled_from([1.0, 2.0, 60.0, 700.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        self.company.now += seconds

    @rule(replica=REPLICAS)
    def follow(self, replica: int) -> None:
        self.ask(self.replicas[replica].feed.follow())

    @precondition(lambda self: any(token for token in self.all_tokens))
    @rule(data=st.data(), replica=REPLICAS)
    def exchange(self, data: Any, replica: int) -> None:
        token = data.draw(st.sampled_from(self.all_tokens))
        self.check(token, replica)

    def check(self, token: Token, replica: int) -> None:
        """A gateway that knows the newest position gets exactly what the model says, from either replica."""
        head = self.database.read_here(feed_position)
        asked = self.replicas[replica].exchanger.exchange(token.sealed, "payments", head)
        if not self.holds(token):
            with pytest.raises(InvalidToken):
                self.ask(asked)
            return
        exchanged = self.ask(asked)
        assert exchanged.position >= head
        self.assert_verified_by_the_keys_of(1 - replica, exchanged.private_token)
        assert exchanged.caller.client_id == token.shop.client_id
        assert exchanged.expires_in <= token.expires - self.company.now + 1

    def assert_verified_by_the_keys_of(self, replica: int, private_token: str) -> None:
        self.ask(self.hear_all(replica))
        published = self.replicas[replica].key_ring.published
        verifier = PrivateTokenVerifier(published, "authserver", "payments", self.company.clock)
        self.ask(verifier.verify(private_token))

    @invariant()
    def tokens_are_judged_alike_by_both(self) -> None:
        for token in self.all_tokens[-FEW:]:
            for replica in (0, 1):
                self.check(token, replica)


def key_id_of(sealed: str) -> int:
    """Return the number in an access token's header, after the version."""
    return int.from_bytes(base64.urlsafe_b64decode(sealed.removeprefix("sat_")[:8])[1:5], "big")


@pytest.mark.timeout(300)
def test_a_token_is_exchanged_exactly_as_long_as_it_holds(new_database_url: Callable[[str], str]) -> None:
    run_state_machine_as_test(
        lambda: AuthServerMachine(new_database_url("authserver")),
        settings=settings(
            max_examples=examples(15, 40), stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
