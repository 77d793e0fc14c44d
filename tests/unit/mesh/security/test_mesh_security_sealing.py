import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.security.sealing import SealBroken, seal, unseal

KEY = bytes(range(32))
PLACE = "shop shp_1"


@given(st.binary(max_size=300), st.text())
def test_a_sealed_secret_opens_in_its_place(secret: bytes, place: str) -> None:
    assert unseal(KEY, seal(KEY, secret, place), place) == secret


def test_the_same_secret_is_never_sealed_alike() -> None:
    assert seal(KEY, b"secret", PLACE) != seal(KEY, b"secret", PLACE)


def test_a_sealed_secret_does_not_open_when_any_bit_was_changed() -> None:
    sealed = seal(KEY, b"secret", PLACE)
    for place in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[place] ^= 1 << bit
            with pytest.raises(SealBroken):
                unseal(KEY, bytes(changed), PLACE)


def test_a_sealed_secret_does_not_open_truncated_or_extended() -> None:
    sealed = seal(KEY, b"secret", PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            unseal(KEY, sealed[:length], PLACE)
    for extended in (sealed + b"\0", b"\0" + sealed):
        with pytest.raises(SealBroken):
            unseal(KEY, extended, PLACE)


@pytest.mark.parametrize("place", ["shop shp_2", "", "shop shp_1 ", "SHOP SHP_1"])
def test_a_sealed_secret_does_not_open_in_another_place(place: str) -> None:
    with pytest.raises(SealBroken, match="wrong key file, or a changed row"):
        unseal(KEY, seal(KEY, b"secret", PLACE), place)


@pytest.mark.parametrize("key", [bytes(32), bytes(range(1, 33)), b"", bytes(16), bytes(33)])
def test_a_sealed_secret_does_not_open_under_another_key(key: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(key, seal(KEY, b"secret", PLACE), PLACE)
