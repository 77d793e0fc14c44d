import hmac
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.clients.secrets import Digest, Peppers, new_client_secret

OLD, NEW = bytes(31) + b"\1", bytes(31) + b"\2"
PEPPERS = Peppers({1: OLD}, 1)
SECRET = new_client_secret()
STORED = PEPPERS.digest(SECRET)


def test_a_secret_has_256_random_bits_and_is_never_the_same() -> None:
    assert re.fullmatch(r"scs_[A-Za-z0-9_-]{43}", SECRET)
    assert len({new_client_secret() for _ in range(1000)}) == 1000


def test_a_secret_matches_its_digest() -> None:
    assert PEPPERS.matches(SECRET, STORED)


@pytest.mark.parametrize(
    "presented",
    [
        "",
        SECRET[:-1],
        SECRET + "A",
        SECRET + "\n",
        " " + SECRET,
        SECRET.lower(),
        SECRET + "\0",
        new_client_secret(),
        "é" * 47,
        "\U0010ffff" * 256,
        SECRET + "A" * 10_000_000,
    ],
    ids=itertools.count(),
)
def test_anything_else_does_not_match(presented: str) -> None:
    assert not PEPPERS.matches(presented, STORED)


def test_a_secret_with_any_character_changed_does_not_match() -> None:
    for place, character in enumerate(SECRET):
        assert not PEPPERS.matches(SECRET[:place] + chr(ord(character) ^ 1) + SECRET[place + 1 :], STORED)


def test_the_longest_secret_has_256_characters() -> None:
    for secret, taken in (("a" * 256, True), ("a" * 257, False)):
        assert PEPPERS.matches(secret, PEPPERS.digest(secret)) is taken
    # What is too long does not match what it begins with either.
    assert not PEPPERS.matches("a" * 257, PEPPERS.digest("a" * 256))


@given(st.text(max_size=300))
def test_nothing_matches_the_digest_of_an_unknown_client(presented: str) -> None:
    assert not PEPPERS.matches(presented, PEPPERS.no_digest)


def test_a_digest_depends_on_the_pepper_and_does_not_hold_the_secret() -> None:
    assert Peppers({1: NEW}, 1).digest(SECRET).mac != STORED.mac
    assert len(STORED.mac) == len(PEPPERS.no_digest.mac) == 32
    assert SECRET.encode() not in STORED.mac


def test_while_the_pepper_changes_old_digests_go_on_and_new_ones_are_made_with_the_new() -> None:
    both = Peppers({1: OLD, 2: NEW}, 2)
    assert both.matches(SECRET, STORED)
    assert not both.is_current(STORED)
    renewed = both.digest(SECRET)
    assert renewed.pepper_id == 2
    assert both.is_current(renewed)
    assert both.matches(SECRET, renewed)
    assert Peppers({2: NEW}, 2).matches(SECRET, renewed)


def test_a_digest_whose_pepper_is_gone_matches_nothing() -> None:
    after = Peppers({2: NEW}, 2)
    for presented in (SECRET, "", "wrong"):
        assert not after.matches(presented, STORED)
        # Not even if it was made with the empty key, which stands in for what is not there.
        assert not after.matches(presented, Digest(1, hmac.digest(b"", presented.encode(), "sha256")))


def test_a_digest_is_no_good_under_another_peppers_number() -> None:
    both = Peppers({1: OLD, 2: NEW}, 2)
    assert not both.matches(SECRET, Digest(2, STORED.mac))


@pytest.mark.parametrize("presented", [SECRET, "wrong", "", "a" * 10_000, "é"], ids=itertools.count())
def test_digests_are_compared_once_in_constant_time(presented: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest

    def recording(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recording)
    PEPPERS.matches(presented, STORED)
    assert compared == [(32, 32)]
