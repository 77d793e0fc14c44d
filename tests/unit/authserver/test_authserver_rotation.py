"""Keys rotate while two replicas, whose clocks differ, make tokens, and a backend and each other take them."""

import random
from dataclasses import dataclass

import pytest

from authserver.access_tokens import NEW, AccessToken
from authserver.audit.trail import Trail
from authserver.keys.ring import KeyRing
from authserver.keys.rotation import KeyChangeRefused, KeyKeeper, is_work_due, keep_keys, prepare_keys, rotate_key
from authserver.keys.schedule import Pace, Use
from mesh.access.rules import Caller, ClientType
from mesh.security.private_tokens import TYP, Keys, PrivateTokenVerifier, claims_of
from mesh.security.signed_jwt import sign
from mesh.storage.database import Database
from mesh.timestamps import to_ms
from tests.unit.authserver.company import AUDIT_KEY, ENCRYPTION, NOW

CALLER = Caller("cli_1", ClientType.WALLET, "", "", frozenset())
PERIOD, ANNOUNCE, PRIVATE_TTL, ACCESS_TTL, LEEWAY = 1800, 600, 300, 600, 60
PACES = {
    Use.SIGNING: Pace(to_ms(PERIOD), to_ms(ANNOUNCE), to_ms(PRIVATE_TTL + LEEWAY)),
    Use.SEALING: Pace(to_ms(PERIOD), to_ms(ANNOUNCE), to_ms(ACCESS_TTL + LEEWAY)),
}
LONGEST_PAUSE = 60  # of a replica between two looks at the database, if the feed tells it nothing


class World:
    """Two replicas and a backend."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self.database = database
        self.chance = chance
        self.now = NOW
        self.replicas = [Replica(self, skew) for skew in (0, 4)]
        self.verifier = PrivateTokenVerifier(self.fetch, "authserver", "payments", lambda: self.now)

    async def fetch(self) -> Keys:
        return await self.chance.choice(self.replicas).ring.published()


class Replica:
    def __init__(self, world: World, skew: float) -> None:
        self.world = world
        self.skew = skew
        self.ring = KeyRing(world.database, ENCRYPTION, self.clock)
        self.keeper = KeyKeeper(ENCRYPTION, PACES, Trail(AUDIT_KEY, self.clock))
        self.looked_at = world.now

    def clock(self) -> float:
        return self.world.now + self.skew

    async def start(self) -> None:
        now_ms = to_ms(self.clock())
        self.ring.take(await self.world.database.run(lambda connection: prepare_keys(connection, self.keeper, now_ms)))

    async def look(self) -> None:
        """Do what the worker does."""
        self.looked_at, now_ms = self.world.now, to_ms(self.clock())
        if is_work_due(await self.ring.reload(), self.keeper, now_ms):
            await self.world.database.run(lambda connection: keep_keys(connection, self.keeper, now_ms))
            await self.ring.reload()

    async def rotate(self, use: Use) -> None:
        now_ms = to_ms(self.clock())
        try:
            await self.world.database.run(
                lambda connection: rotate_key(connection, self.keeper, use, now_ms, at_once=False)
            )
        except KeyChangeRefused:
            return

    def tokens(self) -> "Tokens":
        issued = int(self.clock())
        claims = {"iss": "authserver", "aud": "payments", "iat": issued, "exp": issued + PRIVATE_TTL, "jti": "1"}
        return Tokens(
            private=sign(self.ring.signing_key, TYP, {**claims, **claims_of(CALLER)}),
            private_until=issued + PRIVATE_TTL,
            access=self.ring.sealer.seal(AccessToken(CALLER, "jti", issued + ACCESS_TTL, NEW)),
            access_until=issued + ACCESS_TTL,
        )


@dataclass(frozen=True)
class Tokens:
    """A token of either kind, and until when it is good."""

    private: str
    private_until: float
    access: str
    access_until: float


async def take(world: World, tokens: Tokens) -> None:
    """Present all that is good still to whoever may see it."""
    if world.now < tokens.private_until:
        assert await world.verifier.verify(tokens.private) == CALLER
    for replica in world.replicas:
        if replica.clock() < tokens.access_until:
            assert replica.ring.sealer.open(tokens.access).caller == CALLER


@pytest.mark.parametrize("seed", range(2))
async def test_no_good_token_is_ever_refused_while_keys_rotate(database: Database, seed: int) -> None:
    world = World(database, random.Random(seed))  # noqa: S311 - chance, not a secret
    for replica in world.replicas:
        await replica.start()
    kids, outstanding = set(), []
    while world.now < NOW + 3 * PERIOD:
        world.now += world.chance.choice([1, 10, 25, 50])
        for replica in world.replicas:
            if world.now - replica.looked_at > LONGEST_PAUSE - 50 or world.chance.random() < 0.1:
                await replica.look()
        if world.chance.random() < 0.02:
            await world.chance.choice(world.replicas).rotate(world.chance.choice(list(Use)))
        outstanding = [tokens for tokens in outstanding if world.now < tokens.access_until]
        outstanding.append(world.chance.choice(world.replicas).tokens())
        kids |= {replica.ring.signing_key.kid for replica in world.replicas}
        if world.chance.random() < 0.3:  # seldom, so that the backend's keys grow old
            for tokens in outstanding:
                await take(world, tokens)
    assert len(kids) >= 3  # keys were used
