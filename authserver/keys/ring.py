"""The auth server's own keys in memory: for signing private access tokens and for sealing access tokens."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from authserver.access_tokens import TokenSealer
from authserver.keys.encryption import KeyEncryption
from authserver.keys.schedule import KeyTimes, Use, active_key
from authserver.keys.store import StoredKey, list_keys
from authserver.revocation.store import Change, FeedEntry
from mesh.security import signed_jwt
from mesh.security.private_tokens import Keys
from mesh.security.sealing import SealBroken
from mesh.security.signed_jwt import SigningKey
from mesh.single_flight import SingleFlight
from mesh.storage.database import Database
from mesh.timestamps import to_ms

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _InUse:
    """What the keys are good for, as long as no key's time comes."""

    since: float
    until: float
    signing_key: SigningKey
    sealer: TokenSealer
    jwks: dict[str, list[dict[str, str]]]


class KeyRing:
    """The keys as the database had them when they were last read; which of them is used, the clock tells.

    Args:
        database: Where they are.
        encryption: What they lie encrypted under.
        clock: Seconds since the epoch.

    Attributes:
        changed: Set when the feed tells of a change.

    """

    def __init__(self, database: Database, encryption: KeyEncryption, clock: Callable[[], float]) -> None:
        """Start without keys; `take` or `reload` them once before serving."""
        self.changed = asyncio.Event()
        self._database = database
        self._encryption = encryption
        self._clock = clock
        self._opened: dict[int, bytes] = {}
        self._times: dict[Use, list[KeyTimes]] = {use: [] for use in Use}
        self._in_use: _InUse | None = None
        self._changes_heard = self._changes_read = 0
        self._reloads = SingleFlight[None, Sequence[StoredKey]]()

    @property
    def signing_key(self) -> SigningKey:
        """What signs private access tokens now."""
        return self._now().signing_key

    @property
    def sealer(self) -> TokenSealer:
        """What seals and opens access tokens now."""
        return self._now().sealer

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys of all that are announced, active or retiring, as a JWK set (RFC 7517 §5)."""
        return self._now().jwks

    async def published(self) -> Keys:
        """Return the public keys, by their id, as a `PrivateTokenVerifier` fetches them."""
        return signed_jwt.public_keys(self.jwks())

    def take(self, stored: Sequence[StoredKey]) -> list[int]:
        """Replace the keys by those that the database has; return the ids of those that can't be opened.

        A key that was opened once stays so, whatever has become of how it is sealed.
        """
        opened, broken = {}, []
        for key in stored:
            key_id = key.times.key_id
            try:
                opened[key_id] = self._opened.get(key_id) or self._encryption.unseal(key.material, key.use)
            except SealBroken:
                broken.append(key_id)
        self._opened = opened
        self._times = {
            use: [key.times for key in stored if key.use == use and key.times.key_id in opened] for use in Use
        }
        self._in_use = None
        return broken

    async def reload(self) -> Sequence[StoredKey]:
        """Read the keys anew, and return them.

        Raises:
            DatabaseUnavailable: If the database can't be reached.

        """
        return await self._reloads.do(None, self._reload)

    async def catch_up(self) -> None:
        """Read the keys anew if the feed has told of a change since they were read.

        Raises:
            DatabaseUnavailable: If the database is needed, and can't be reached.

        """
        while self._changes_read < self._changes_heard:
            await self.reload()

    def hear(self, entries: Sequence[FeedEntry]) -> None:
        """Listen to the feed."""
        if any(entry.news.what == Change.KEYS_CHANGED for entry in entries):
            self._changes_heard += 1
            self.changed.set()

    async def _reload(self) -> Sequence[StoredKey]:
        heard = self._changes_heard
        stored = await self._database.read(list_keys)
        if broken := self.take(stored):
            _log.error("keys can't be opened: is a key-encryption key missing?", key_ids=broken)
        self._changes_read = heard
        return stored

    def _now(self) -> _InUse:
        now_ms = to_ms(self._clock())
        if self._in_use is None or not self._in_use.since <= now_ms < self._in_use.until:
            self._in_use = self._judge(now_ms)
        return self._in_use

    def _judge(self, now_ms: int) -> _InUse:
        times = [key for keys in self._times.values() for key in keys]
        turns = [turn for key in times for turn in (key.activate_time, key.retire_time) if turn is not None]
        signing, sealing = (active_key(self._times[use], now_ms) for use in Use)
        if signing is None or sealing is None:
            raise LookupError("there is no key to sign or to seal with")
        live = {use: [key.key_id for key in self._times[use] if key.is_live(now_ms)] for use in Use}
        signing_keys = {key_id: SigningKey.from_pem(self._opened[key_id]) for key_id in live[Use.SIGNING]}
        return _InUse(
            since=max((turn for turn in turns if turn <= now_ms), default=float("-inf")),
            until=min((turn for turn in turns if turn > now_ms), default=float("inf")),
            signing_key=signing_keys[signing.key_id],
            sealer=TokenSealer({key_id: self._opened[key_id] for key_id in live[Use.SEALING]}, sealing.key_id),
            jwks={"keys": [key.public_jwk() for key in signing_keys.values()]},
        )
