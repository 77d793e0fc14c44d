"""Changes of a company's keys."""

from authserver.keys.rotation import KeyKeeper, retire_key, rotate_key
from authserver.keys.schedule import Pace, Use
from authserver.keys.store import StoredKey, list_keys
from tests.unit.authserver.company import ENCRYPTION, Company

ANNOUNCE_SECONDS, OVERLAP_SECONDS = 600, 660
PACE = Pace(3_000_000, ANNOUNCE_SECONDS * 1000, OVERLAP_SECONDS * 1000)


def rotate_sealing_key(company: Company, *, at_once: bool) -> StoredKey:
    """Make a successor of the sealing key, and return the old one."""
    (old,) = (key for key in company.run(list_keys) if key.use == Use.SEALING)
    company.run(
        lambda connection: rotate_key(connection, keeper_of(company), Use.SEALING, company.now_ms, at_once=at_once)
    )
    return old


def retire_sealing_key(company: Company) -> None:
    """Replace the sealing key, and retire it two seconds later."""
    old = rotate_sealing_key(company, at_once=True)
    company.now += 2
    company.run(lambda connection: retire_key(connection, keeper_of(company), old.times.key_id, company.now_ms))


def keeper_of(company: Company) -> KeyKeeper:
    return KeyKeeper(ENCRYPTION, dict.fromkeys(Use, PACE), company.trail)
