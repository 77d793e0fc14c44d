"""Changes the auth server's own keys: by schedule, and as an operator asks."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.config import AuthServerConfig
from authserver.keys import store
from authserver.keys.encryption import KeyEncryption
from authserver.keys.schedule import (
    KeyTimes,
    Pace,
    Use,
    active_key,
    due_activation,
    is_to_be_destroyed,
    retired,
    succeeded,
)
from authserver.keys.store import StoredKey
from authserver.revocation.store import Change, News
from mesh.access.revocation import Subject
from mesh.errors import Mendable
from mesh.security import signed_jwt
from mesh.timestamps import to_ms

# How far the clocks of those who use a key and those who verify by it may be apart.
_LEEWAY_SECONDS = 60
# What an emergency waits: every replica has heard of the new key by then.
AT_ONCE_SECONDS = 2.0

_DAY_SECONDS = 24 * 3600
_SEALING_KEY_BYTES = 32


class KeyChangeRefused(Mendable):
    """The keys can't be changed as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class KeyKeeper:
    """What changing keys takes.

    Attributes:
        encryption: What they lie encrypted under.
        paces: How fast they follow each other.
        trail: Where it is recorded.
        actor: Who changes them, as the audit log names them.

    """

    encryption: KeyEncryption
    paces: Mapping[Use, Pace]
    trail: Trail
    actor: str = "authserver"


def paces(config: AuthServerConfig) -> Mapping[Use, Pace]:
    """Return how fast keys follow each other."""

    def pace(days: int, token_seconds: int) -> Pace:
        overlap_seconds = token_seconds + _LEEWAY_SECONDS
        return Pace(to_ms(days * _DAY_SECONDS), to_ms(config.key_announce_seconds), to_ms(overlap_seconds))

    return {
        Use.SIGNING: pace(config.signing_key_days, config.private_token_ttl_seconds),
        Use.SEALING: pace(config.sealing_key_days, config.access_token_ttl_seconds),
    }


def prepare_keys(connection: Connection, keeper: KeyKeeper, now_ms: int) -> Sequence[StoredKey]:
    """Make a database ready for a server that starts, and return its keys.

    What lies under another key-encryption key than the first is sealed anew. Not again later: a replica that was not
    restarted yet has another first one, and the two would undo each other's work.

    Raises:
        SealBroken: If a key was sealed under none of the key-encryption keys.

    """
    store.lock_keys(connection)
    for key in store.list_keys(connection):
        if not keeper.encryption.is_current(key.material, key.use):
            material = keeper.encryption.unseal(key.material, key.use)
            sealed = keeper.encryption.seal(material, key.use)
            store.replace_key_material(connection, key.times.key_id, sealed)
            _record(connection, keeper, "key.reseal", key)
    keep_keys(connection, keeper, now_ms)
    return store.list_keys(connection)


def is_work_due(stored: Sequence[StoredKey], keeper: KeyKeeper, now_ms: int) -> bool:
    """Return whether `keep_keys` would change anything."""
    return any(is_to_be_destroyed(key.times, now_ms) for key in stored) or any(
        due_activation(_times(stored, use), pace, now_ms) is not None for use, pace in keeper.paces.items()
    )


def keep_keys(connection: Connection, keeper: KeyKeeper, now_ms: int) -> None:
    """Announce the keys that are due, and destroy those that were retired long ago.

    The first keys of an empty database are used at once. A replica that does this at the same time waits, and
    finds it done.
    """
    store.lock_keys(connection)
    stored = store.list_keys(connection)
    for key in stored:
        if is_to_be_destroyed(key.times, now_ms):
            store.destroy_key(connection, key.times.key_id)
            _record(connection, keeper, "key.destroy", key)
    for use, pace in keeper.paces.items():
        activation = due_activation(_times(stored, use), pace, now_ms)
        if activation is not None:
            _announce(connection, keeper, use, _times(stored, use), activation, now_ms)


def rotate_key(connection: Connection, keeper: KeyKeeper, use: Use, now_ms: int, *, at_once: bool) -> StoredKey:
    """Announce a successor of the key in use, or put it into use at once, and return it.

    Raises:
        KeyChangeRefused: If one is announced already, and is not to be used at once.

    """
    store.lock_keys(connection)
    stored = store.list_keys(connection)
    waiting = [key for key in stored if key.use == use and key.times.is_announced(now_ms)]
    if not waiting:
        activation = now_ms + (to_ms(AT_ONCE_SECONDS) if at_once else keeper.paces[use].announce_ms)
        return _announce(connection, keeper, use, _times(stored, use), activation, now_ms)
    next_one = min(waiting, key=lambda key: key.times.activate_time)
    if not at_once:
        raise KeyChangeRefused(f"key {next_one.times.key_id} is announced already; to use it at once, add --now")
    activation = min(next_one.times.activate_time, now_ms + to_ms(AT_ONCE_SECONDS))
    successor = replace(next_one, times=replace(next_one.times, activate_time=activation))
    rest = [times for times in _times(stored, use) if times.key_id != successor.times.key_id]
    _set_times(connection, [successor.times, *succeeded(rest, activation, keeper.paces[use], now_ms)])
    _record(connection, keeper, "key.announce", successor, activate_time=str(activation))
    return successor


def retire_key(connection: Connection, keeper: KeyKeeper, key_id: int, now_ms: int) -> StoredKey:
    """End a key at once, with all that was made by it, and return it.

    If it was ever used, gateways drop all that they keep: what it made must not live on in their memory.

    Raises:
        KeyChangeRefused: If there is no such key, it is retired, or it is in use.

    """
    store.lock_keys(connection)
    stored = store.list_keys(connection)
    key = next((key for key in stored if key.times.key_id == key_id), None)
    if key is None or not key.times.is_live(now_ms):
        raise KeyChangeRefused(f"there is no key {key_id}, or it is retired already; see: sekisho keys list")
    times = _times(stored, key.use)
    if key.times == active_key(times, now_ms):
        raise KeyChangeRefused(f"key {key_id} is in use; first run: sekisho keys rotate {key.use} --now")
    changed = retired(times, key.times, now_ms)
    _set_times(connection, changed)
    further = [] if key.times.is_announced(now_ms) else [News(Subject.EVERYTHING, "")]
    _record(connection, keeper, "key.retire", key, *further)
    return replace(key, times=changed[0])


def make_key(connection: Connection, encryption: KeyEncryption, use: Use, now_ms: int, activation: int) -> StoredKey:
    """Make a key, and nothing else."""
    material = signed_jwt.create_pem() if use == Use.SIGNING else secrets.token_bytes(_SEALING_KEY_BYTES)
    return store.add_key(connection, use, encryption.seal(material, use), now_ms, activation)


def _announce(
    connection: Connection, keeper: KeyKeeper, use: Use, times: Sequence[KeyTimes], activation: int, now_ms: int
) -> StoredKey:
    key = make_key(connection, keeper.encryption, use, now_ms, activation)
    _set_times(connection, succeeded(times, activation, keeper.paces[use], now_ms))
    _record(connection, keeper, "key.announce", key, activate_time=str(activation))
    return key


def _record(
    connection: Connection, keeper: KeyKeeper, action: str, key: StoredKey, *further: News, **details: str
) -> None:
    key_id = key.times.key_id
    news = [News(Change.KEYS_CHANGED, str(key_id)), *further]
    keeper.trail.record(connection, keeper.actor, action, f"{key.use} key {key_id}", news, **details)


def _set_times(connection: Connection, changed: Sequence[KeyTimes]) -> None:
    for times in changed:
        store.set_key_times(connection, times)


def _times(stored: Sequence[StoredKey], use: Use) -> list[KeyTimes]:
    return [key.times for key in stored if key.use == use]
