"""What access tokens were exchanged for: kept for later calls, and ended when the feed says that it holds no more."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakSet

from gateway.errors import AuthServerUnavailable, InvalidToken, RevocationsUnknown, TokenExpired, TokenRevoked
from mesh.access.revocation import Revocation, Subject
from mesh.access.rules import Caller
from mesh.errors import ServiceError

# An access token's SHA-256 digest, so that a look into memory shows no usable token; and the backend.
Key: TypeAlias = tuple[bytes, str]


class FeedWentBack(Exception):
    """The feed is at an earlier position than it was: it has lost something."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Exchanged:
    """What an access token was exchanged for. All times are by the clock of the exchange.

    Attributes:
        key: The token's digest, and the backend.
        private_token: The private access token.
        caller: Whom both tokens speak for.
        position: The position of the revocation feed that this held at.
        asked: When the auth server was asked.
        good_until: Until when this may be used again.
        access_until: When the access token expires; no call may outlive it.

    """

    key: Key
    private_token: str
    caller: Caller
    position: int
    asked: float
    good_until: float
    access_until: float
    _ended: Callable[[], ServiceError] | None = field(default=None, init=False)
    _streams: set[asyncio.Timeout] | None = field(default=None, init=False)  # few have any

    def require_lasting(self, now: float) -> None:
        """Refuse a call that has come too late: callers may take their time with a message.

        Raises:
            InvalidToken: If the access token has expired, or was revoked.
            AuthServerUnavailable: If nobody can tell any more whether it was.

        """
        if self._ended is _unknown:
            raise AuthServerUnavailable("what is revoked can't be learned now; try again")
        if self._ended or now >= self.access_until:
            raise InvalidToken("the access token has expired, or was revoked, before the message came; take a new one")

    @asynccontextmanager
    async def lasting(self) -> AsyncIterator[None]:
        """Let a stream last as long as its access token.

        Raises:
            TokenExpired: When the token expires.
            TokenRevoked: When it is revoked, also if it was before the stream began.
            RevocationsUnknown: When nobody can tell any more whether it is revoked.

        """
        if self._ended:
            raise self._ended()
        if self._streams is None:
            self._streams = set()
        try:
            async with asyncio.timeout_at(self.access_until) as limit:
                self._streams.add(limit)
                try:
                    yield
                finally:
                    self._streams.discard(limit)
        except TimeoutError as error:
            ending = self._ended or _expired
            raise ending() from error

    def end(self, ending: Callable[[], ServiceError]) -> None:
        """End all streams that go by this."""
        self._ended = ending
        for limit in self._streams or ():
            if not limit.expired():
                limit.reschedule(0.0)  # long ago


class ExchangeCache:
    """Keeps exchanges for as long as it hears what is revoked; the least recently used go first.

    Those in use, by streams or by calls on their way, it knows as long as they are, also when it keeps them no more.

    Args:
        capacity: The most exchanges kept.
        grace_seconds: How long an exchange is believed in without word from the feed.
        clock: `time.monotonic`, which is the event loop's, too.

    Attributes:
        position: How far the feed was heard; None before its first message.
        capacity: The most exchanges kept.
        hits: How often one that was looked for was kept.
        misses: How often none was.

    """

    def __init__(self, *, capacity: int, grace_seconds: float, clock: Callable[[], float]) -> None:
        """Start empty, and keep nothing until the feed is heard."""
        self.position: int | None = None
        self.capacity = capacity
        self.hits = 0
        self.misses = 0
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._known_until = float("-inf")
        self._kept: OrderedDict[Key, Exchanged] = OrderedDict()
        self._in_use: WeakSet[Exchanged] = WeakSet()  # of those that are not kept
        self._audiences = set[str]()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    @property
    def believed_seconds(self) -> float:
        """For how long what is kept may be used without further word from the feed."""
        return self._known_until - self._clock()

    @property
    def believed(self) -> bool:
        """Whether the feed was heard within the grace, so that what is kept may be used."""
        return self.believed_seconds > 0

    def find(self, key: Key) -> Exchanged | None:
        """Return an exchange that may be used again."""
        exchanged = self._kept.get(key)
        if exchanged is None or (now := self._clock()) >= exchanged.good_until or now >= self._known_until:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return exchanged

    def add(self, exchanged: Exchanged) -> bool:
        """Take in an exchange, and keep it if the feed is heard; return False if it is older than what was heard."""
        if self.position is not None and exchanged.position < self.position:
            return False
        self._release(exchanged.key)
        if self.believed:
            self._kept[exchanged.key] = exchanged
            self._audiences.add(exchanged.key[1])
            if len(self._kept) > self.capacity:
                self._release(next(iter(self._kept)))
        else:
            self._in_use.add(exchanged)
        return True

    def hear(self, position: int, revocations: Sequence[Revocation]) -> None:
        """End what is revoked between the position so far and this one.

        Raises:
            FeedWentBack: If this position is the earlier one. Then all are ended: it is unknown what is revoked.

        """
        if self.position is None:  # what came in before was not told of what was revoked since
            self._end([each for each in self._all() if each.position < position], _unknown)
        elif position < self.position:
            self._known_until = float("-inf")
            self._end(self._all(), _unknown)
            raise FeedWentBack(f"from {self.position} to {position}")
        if revocations:
            self._end(_revoked(self._concerned(revocations), revocations), _revocation)
        self.position = position
        self._known_until = self._clock() + self._grace_seconds

    def look(self) -> None:
        """Once the feed was silent for the grace: end what the auth server said before that long."""
        now = self._clock()
        if now >= self._known_until:
            self._end([each for each in self._all() if now >= each.asked + self._grace_seconds], _unknown)

    def _concerned(self, revocations: Iterable[Revocation]) -> list[Exchanged]:
        """Return those that revocations may concern. Tokens are looked up: to look at all takes tens of ms."""
        if any(each.subject is not Subject.TOKEN for each in revocations):
            return self._all()
        digests = (bytes.fromhex(each.name) for each in revocations)
        keys = ((digest, audience) for digest in digests for audience in self._audiences)
        return [*(self._kept[key] for key in keys if key in self._kept), *self._in_use]

    def _all(self) -> list[Exchanged]:
        return [*self._kept.values(), *self._in_use]

    def _release(self, key: Key) -> None:
        if (exchanged := self._kept.pop(key, None)) is not None:
            self._in_use.add(exchanged)

    def _end(self, some: Iterable[Exchanged], ending: Callable[[], ServiceError]) -> None:
        for exchanged in some:
            exchanged.end(ending)
            self._in_use.discard(exchanged)
            if self._kept.get(exchanged.key) is exchanged:
                del self._kept[exchanged.key]


def _revoked(exchanges: Sequence[Exchanged], revocations: Iterable[Revocation]) -> list[Exchanged]:
    """Return those that a revocation concerns, in one pass: there may be tens of thousands."""
    latest: dict[Subject, dict[str, int]] = {subject: {} for subject in Subject}
    for revocation in revocations:  # in their order
        latest[revocation.subject][revocation.name] = revocation.position
    tokens = {bytes.fromhex(name): position for name, position in latest[Subject.TOKEN].items()}
    clients = latest[Subject.CLIENT]
    partners, platforms = latest[Subject.PARTNER], latest[Subject.PLATFORM]
    everything = max(latest[Subject.EVERYTHING].values(), default=0)
    return [
        each
        for each in exchanges
        if each.position < everything
        or each.position < clients.get(each.caller.client_id, 0)
        or each.position < partners.get(each.caller.partner_id, 0)
        or each.position < platforms.get(each.caller.platform_id, 0)
        or each.position < tokens.get(each.key[0], 0)
    ]


def _expired() -> ServiceError:
    return TokenExpired("the access token has expired; take a new one, and resume")


def _revocation() -> ServiceError:
    return TokenRevoked("the access token was revoked")


def _unknown() -> ServiceError:
    return RevocationsUnknown("what is revoked can't be learned now; resume")
