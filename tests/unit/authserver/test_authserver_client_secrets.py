import hmac
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.client_secrets import NO_DIGEST, digest, matches, new_client_secret

PEPPER = bytes(32)
SECRET = new_client_secret()
STORED = digest(PEPPER, SECRET)


def test_a_secret_has_256_random_bits_and_is_never_the_same() -> None:
    assert re.fullmatch(r"scs_[A-Za-z0-9_-]{43}", SECRET)
    assert len({new_client_secret() for _ in range(1000)}) == 1000


def test_a_secret_matches_its_digest() -> None:
    assert matches(PEPPER, SECRET, STORED)


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
    assert not matches(PEPPER, presented, STORED)


def test_a_secret_with_any_character_changed_does_not_match() -> None:
    for place, character in enumerate(SECRET):
        assert not matches(PEPPER, SECRET[:place] + chr(ord(character) ^ 1) + SECRET[place + 1 :], STORED)


def test_the_longest_secret_has_256_characters() -> None:
    for secret, taken in (("a" * 256, True), ("a" * 257, False)):
        assert matches(PEPPER, secret, digest(PEPPER, secret)) is taken
    # What is too long does not match what it begins with either.
    assert not matches(PEPPER, "a" * 257, digest(PEPPER, "a" * 256))


@given(st.text(max_size=300))
def test_nothing_matches_the_digest_of_an_unknown_client(presented: str) -> None:
    assert not matches(PEPPER, presented, NO_DIGEST)


def test_a_digest_depends_on_the_pepper_and_does_not_hold_the_secret() -> None:
    assert digest(bytes(31) + b"\1", SECRET) != STORED
    assert len(STORED) == len(NO_DIGEST) == 32
    assert SECRET.encode() not in STORED


@pytest.mark.parametrize("presented", [SECRET, "wrong", "", "a" * 10_000, "é"], ids=itertools.count())
def test_digests_are_compared_once_in_constant_time(presented: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest

    def recording(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recording)
    matches(PEPPER, presented, STORED)
    assert compared == [(32, 32)]
