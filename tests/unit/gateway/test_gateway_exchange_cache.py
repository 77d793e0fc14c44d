import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RevocationsUnknown, TokenExpired, TokenRevoked
from gateway.exchange_cache import ExchangeCache, Exchanged, FeedWentBack
from mesh.access.revocation import Revocation, Subject
from mesh.access.rules import Caller, ClientType
from tests.unit.gateway.conftest import Clock

pytestmark = pytest.mark.timeout(20)

DIGEST = b"d" * 32
CALLER = Caller("client-1", ClientType.PARTNER, "shops", "ptn_1", frozenset())
STAFF = Caller("client-2", ClientType.OPERATOR, "", "", frozenset())
OF_CALLER = [
    (Subject.TOKEN, DIGEST.hex()),
    (Subject.CLIENT, "client-1"),
    (Subject.PARTNER, "ptn_1"),
    (Subject.PLATFORM, "shops"),
    (Subject.EVERYTHING, ""),
]
# What one namespace calls so, another may, too.
OF_OTHERS = [
    (Subject.TOKEN, "ee" * 32),
    (Subject.CLIENT, "ptn_1"),
    (Subject.PARTNER, "shops"),
    (Subject.PLATFORM, "client-1"),
]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ExchangeCache:
    """Make a cache that has just heard of position 10."""
    cache = ExchangeCache(capacity=3, grace_seconds=30.0, clock=clock)
    cache.hear(10, [])
    return cache


def exchanged(
    key: tuple[bytes, str] = (DIGEST, "payments"),
    caller: Caller = CALLER,
    *,
    position: int = 10,
    asked: float = 1_000.0,
    lasts: float = 1e9,
) -> Exchanged:
    return Exchanged(
        key, "pat", caller, position=position, asked=asked, good_until=asked + lasts, access_until=asked + lasts
    )


def added(cache: ExchangeCache, it: Exchanged) -> Exchanged:
    assert cache.add(it)
    return it


@asynccontextmanager
async def stream(it: Exchanged) -> AsyncIterator[asyncio.Task[None]]:
    """Open a stream by an exchange, as a task that lasts as long as it."""
    begun = asyncio.Event()

    async def last() -> None:
        async with it.lasting():
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(last())
    try:
        await begun.wait()
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


# -- What is revoked


@pytest.mark.parametrize(("subject", "name"), OF_CALLER)
def test_what_a_revocation_names_is_dropped(cache: ExchangeCache, subject: Subject, name: str) -> None:
    it = added(cache, exchanged())
    assert cache.find(it.key) is it
    cache.hear(11, [Revocation(11, subject, name)])
    assert cache.find(it.key) is None


@pytest.mark.parametrize(("subject", "name"), OF_OTHERS)
def test_what_a_revocation_does_not_name_is_kept(cache: ExchangeCache, subject: Subject, name: str) -> None:
    it = added(cache, exchanged())
    cache.hear(11, [Revocation(11, subject, name)])
    assert cache.find(it.key) is it


@pytest.mark.parametrize(("subject", "name"), OF_CALLER)
def test_what_is_as_new_as_the_revocation_is_kept(cache: ExchangeCache, subject: Subject, name: str) -> None:
    it = added(cache, exchanged(position=11))
    cache.hear(11, [Revocation(11, subject, name)])
    assert cache.find(it.key) is it


def test_of_several_revocations_in_a_batch_the_last_one_counts(cache: ExchangeCache) -> None:
    it = added(cache, exchanged(position=11))
    cache.hear(12, [Revocation(position, Subject.CLIENT, "client-1") for position in (11, 12)])
    assert cache.find(it.key) is None


def test_a_token_is_dropped_for_all_backends(cache: ExchangeCache) -> None:
    both = [added(cache, exchanged((DIGEST, audience))) for audience in ("payments", "authserver")]
    cache.hear(11, [Revocation(11, Subject.TOKEN, DIGEST.hex())])
    assert [cache.find(it.key) for it in both] == [None, None]


def test_the_revocation_of_a_platform_leaves_those_alone_who_belong_to_none(cache: ExchangeCache) -> None:
    it = added(cache, exchanged(caller=STAFF))
    cache.hear(12, [Revocation(11, Subject.PLATFORM, "shops"), Revocation(12, Subject.PARTNER, "ptn_1")])
    assert cache.find(it.key) is it


def test_an_answer_that_is_older_than_what_was_heard_is_not_taken(cache: ExchangeCache) -> None:
    it = exchanged(position=9)
    assert not cache.add(it)
    assert cache.find(it.key) is None


# -- What nobody can tell


def test_nothing_is_kept_before_the_first_word(clock: Clock) -> None:
    cache = ExchangeCache(capacity=3, grace_seconds=30.0, clock=clock)
    it = added(cache, exchanged())
    assert cache.find(it.key) is None
    cache.hear(10, [])
    assert cache.find(it.key) is None


def test_nothing_is_found_when_the_grace_is_over_and_nothing_is_kept(cache: ExchangeCache, clock: Clock) -> None:
    old = added(cache, exchanged())
    clock.now += 29.9
    cache.hear(10, [])
    clock.now += 29.9
    assert cache.find(old.key) is old
    clock.now += 0.1
    assert cache.find(old.key) is None
    new = added(cache, exchanged((b"n", "payments"), asked=clock.now))
    assert cache.find(new.key) is None
    cache.look()
    cache.hear(10, [])
    assert (cache.find(old.key), cache.find(new.key)) == (None, None)
    again = added(cache, exchanged(asked=clock.now))
    assert cache.find(again.key) is again


async def test_a_stream_goes_on_until_nothing_vouches_for_it_any_more(cache: ExchangeCache, clock: Clock) -> None:
    old = added(cache, exchanged())
    clock.now += 20.0
    young = added(cache, exchanged((b"y", "payments"), asked=clock.now))  # the auth server vouched for it, now
    async with stream(old) as first, stream(young) as second:
        clock.now += 9.9
        cache.look()
        await asyncio.sleep(0)
        assert not first.done()
        clock.now += 0.1
        cache.look()
        with pytest.raises(RevocationsUnknown):
            await first
        clock.now += 19.9
        cache.look()
        await asyncio.sleep(0)
        assert not second.done()
        clock.now += 0.1
        cache.look()
        with pytest.raises(RevocationsUnknown):
            await second


async def test_a_stream_that_outlives_a_silence_ends_when_its_token_was_revoked_in_it(
    cache: ExchangeCache, clock: Clock
) -> None:
    clock.now += 40.0
    cache.look()
    it = added(cache, exchanged(asked=clock.now))
    async with stream(it) as task:
        cache.hear(11, [Revocation(11, Subject.CLIENT, "client-1")])
        with pytest.raises(TokenRevoked):
            await task


async def test_a_stream_from_before_the_first_word_ends_if_something_may_have_been_revoked(clock: Clock) -> None:
    cache = ExchangeCache(capacity=3, grace_seconds=30.0, clock=clock)
    behind = added(cache, exchanged(position=9))
    level = added(cache, exchanged(position=10))
    async with stream(behind) as first, stream(level) as second:
        cache.hear(10, [])
        with pytest.raises(RevocationsUnknown):
            await first
        assert not second.done()


async def test_when_the_feed_goes_back_nothing_is_believed(cache: ExchangeCache) -> None:
    it = added(cache, exchanged())
    async with stream(it) as task:
        with pytest.raises(FeedWentBack):
            cache.hear(9, [])
        with pytest.raises(RevocationsUnknown):
            await task
    assert cache.find(it.key) is None
    assert cache.position == 10
    assert not cache.add(exchanged(position=9))


# -- Streams


async def test_a_revocation_ends_all_streams_of_the_token_and_no_other(cache: ExchangeCache) -> None:
    it, other = added(cache, exchanged()), added(cache, exchanged((b"o", "payments"), STAFF))
    async with stream(it) as first, stream(it) as second, stream(other) as third:
        cache.hear(11, [Revocation(11, Subject.PARTNER, "ptn_1")])
        for task in (first, second):
            with pytest.raises(TokenRevoked):
                await task
        assert not third.done()


async def test_a_stream_can_not_begin_by_what_was_revoked_since_its_call_was_let_in(cache: ExchangeCache) -> None:
    it = added(cache, exchanged())
    cache.hear(11, [Revocation(11, Subject.CLIENT, "client-1")])
    with pytest.raises(TokenRevoked):
        async with it.lasting():
            raise AssertionError("the stream began")


@pytest.mark.parametrize("gone", ["evicted", "replaced", "never kept"])
async def test_a_stream_ends_also_by_an_exchange_that_is_not_kept_any_more(
    cache: ExchangeCache, clock: Clock, gone: str
) -> None:
    if gone == "never kept":
        clock.now += 30.0
    it = added(cache, exchanged(asked=clock.now))
    if gone == "evicted":
        for number in range(3):
            added(cache, exchanged((bytes([number]), "payments"), STAFF))
    if gone == "replaced":
        added(cache, exchanged(position=12))
    async with stream(it) as task:
        cache.hear(11, [Revocation(11, Subject.CLIENT, "client-1")])
        with pytest.raises(TokenRevoked):
            await task


async def test_a_stream_ends_when_its_token_expires(cache: ExchangeCache) -> None:
    now = asyncio.get_running_loop().time()
    async with stream(added(cache, exchanged(asked=now, lasts=0.05))) as task:
        with pytest.raises(TokenExpired):
            await task
        cache.hear(11, [Revocation(11, Subject.CLIENT, "client-1")])


async def test_a_stream_that_is_ending_may_be_revoked_meanwhile(cache: ExchangeCache) -> None:
    ending, go_on = asyncio.Event(), asyncio.Event()
    it = added(cache, exchanged(asked=asyncio.get_running_loop().time(), lasts=0.05))

    async def last() -> None:
        async with it.lasting():
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                await go_on.wait()

    task = asyncio.create_task(last())
    await ending.wait()
    for position in (11, 12):
        cache.hear(position, [Revocation(position, Subject.CLIENT, "client-1")])
    go_on.set()
    with pytest.raises(TokenRevoked):
        await task


async def test_what_is_neither_kept_nor_in_use_is_forgotten(cache: ExchangeCache) -> None:
    for number in range(1_000):
        it = added(cache, exchanged((number.to_bytes(2), "forgotten")))
        async with stream(it):
            pass
    cache.hear(11, [Revocation(11, Subject.TOKEN, number.to_bytes(2).hex())])
    del it
    gc.collect()
    alive = [each for each in gc.get_objects() if isinstance(each, Exchanged) and each.key[1] == "forgotten"]
    assert len(alive) == 2
    assert len(cache._in_use) == 0  # noqa: SLF001 - the references themselves take room, too


# -- Against a model

CLIENTS, PARTNERS, PLATFORMS = ("c1", "c2", "c3"), ("p1", "p2"), ("s1", "s2")
callers = st.builds(
    Caller,
    client_id=st.sampled_from(CLIENTS),
    client_type=st.just(ClientType.PARTNER),
    platform_id=st.sampled_from(PLATFORMS),
    partner_id=st.sampled_from(PARTNERS),
    scopes=st.just(frozenset[str]()),
)
tokens = st.sampled_from([b"t1", b"t2", b"t3", b"t4"])
subjects = st.one_of(
    st.tuples(st.just(Subject.TOKEN), tokens.map(bytes.hex)),
    st.tuples(st.just(Subject.CLIENT), st.sampled_from(CLIENTS)),
    st.tuples(st.just(Subject.PARTNER), st.sampled_from(PARTNERS)),
    st.tuples(st.just(Subject.PLATFORM), st.sampled_from(PLATFORMS)),
    st.just((Subject.EVERYTHING, "")),
)
steps = st.one_of(
    st.tuples(st.just("add"), st.tuples(tokens, callers, st.integers(-2, 2))),
    st.tuples(st.just("hear"), st.lists(subjects, max_size=3)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 10.0, 31.0])),
    st.tuples(st.just("look"), st.none()),
)


def concerns(revocation: Revocation, it: Exchanged) -> bool:
    named = {
        Subject.TOKEN: it.key[0].hex(),
        Subject.CLIENT: it.caller.client_id,
        Subject.PARTNER: it.caller.partner_id,
        Subject.PLATFORM: it.caller.platform_id,
        Subject.EVERYTHING: "",
    }
    return it.position < revocation.position and named[revocation.subject] == revocation.name


@given(st.lists(steps, max_size=40))
def test_whatever_happens_nothing_revoked_is_found_and_nothing_good_is_lost(story: list[tuple[str, object]]) -> None:
    clock = Clock()
    cache = ExchangeCache(capacity=100, grace_seconds=30.0, clock=clock)
    heard: list[Revocation] = []
    believed: dict[tuple[bytes, str], Exchanged] = {}
    position, heard_at = 0, float("-inf")
    for step, what in story:
        if step == "add":
            token, caller, ahead = what  # type: ignore[misc]
            it = exchanged((token, "payments"), caller, position=position + ahead, asked=clock.now)
            assert cache.add(it) == (position == 0 or ahead >= 0)
            if heard_at + 30 > clock.now and ahead >= 0:
                believed[it.key] = it
        elif step == "hear":
            news = [Revocation(position + n, *each) for n, each in enumerate(what, 1)]  # type: ignore[arg-type, misc, var-annotated]
            heard += news
            position, heard_at = max(1, position + len(news)), clock.now
            cache.hear(position, news)
        elif step == "wait":
            clock.now += what  # type: ignore[operator]
        else:
            cache.look()
            if heard_at + 30 <= clock.now:
                believed = {key: it for key, it in believed.items() if it.asked + 30 > clock.now}
        for key in [(token, "payments") for token in (b"t1", b"t2", b"t3", b"t4")]:
            expected = believed.get(key) if heard_at + 30 > clock.now else None
            if expected is not None and any(concerns(each, expected) for each in heard):
                expected = None
            assert cache.find(key) is expected
